"""The names of a data set's splits, which each data set declares next to its loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from graphfew.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a data set.

    Attributes:
        names: name of each split, in the order in which they are listed.
        test: splits that results are reported on. They are never used for training or model
            selection.
        subfolders: whether any sub-folder of the data set is a split, too.

    Example:
        >>> splits = Splits(("train", "val", "test"))
        >>> str(splits), "dev" in splits, splits.test
        ('train, val, test', False, ('test',))
    """

    names: tuple[str, ...]
    test: tuple[str, ...] = ("test",)
    subfolders: bool = False

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, split: object) -> bool:
        return self.subfolders or split in self.names

    def __str__(self) -> str:
        names = ", ".join(self.names)
        return f"{names}, and its folders" if self.subfolders else names

    def check(self, dataset: str, split: str) -> None:
        """Check that a split exists.

        Args:
            dataset: name of the data set, for the error message.
            split: name of the split.

        Raises:
            InvalidInputError: the data set has no such split; the message lists the known ones.

        Example:
            >>> Splits(("all",), test=()).check("digits", "all")
        """
        if split not in self:
            raise InvalidInputError(f"{dataset} has no split {split!r}; known: {self}")
