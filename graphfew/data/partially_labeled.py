"""`Pile`: items of which a few have a label, as readers of folders and tables give them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = tuple[str | None, ...]
# What stands for an unknown label, besides none at all: the library's and scikit-learn's -1, also as a table writes it.
MARKS = ("", "-1", "-1.0")


@dataclasses.dataclass(frozen=True, eq=False)
class PartiallyLabeledItems:
    """Items with a name each, and labels where they are known.

    Shapes:
        x: `[n, F]` floating features, or `[n, c, h, w]` uint8 images.
        labels: `[n]` class names; None where unknown.
        names: `[n]` what the items are called: a path, an id or a row number.

    Raises:
        ValueError: lengths that differ, or labels that `check_labels` refuses.
    """

    x: NDArray[Any]
    labels: Labels
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.labels) == len(self.names):
            raise ValueError(
                f"there are {len(self.x)} items, {len(self.labels)} labels and {len(self.names)} names; "
                "give one label and one name per item"
            )
        check_labels(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return classes_of(self.labels)

    @property
    def known(self) -> NDArray[np.int64]:
        """`[n]` the place of each item's label in `classes`, -1 where it is unknown."""
        place: dict[str | None, int] = {name: i for i, name in enumerate(self.classes)}
        return np.array([place.get(label, -1) for label in self.labels], dtype=np.int64)


def classes_of(labels: Labels) -> tuple[str, ...]:
    """The distinct labels, sorted."""
    return tuple(sorted({label for label in labels if label is not None}))


def labels_of(texts: Sequence[str]) -> Labels:
    """Labels as a table writes them, without the blanks around them; None for an empty one and for -1."""
    return tuple(None if text.strip() in MARKS else text.strip() for text in texts)


def check_labels(labels: Labels) -> None:
    """Raises ValueError where fewer than two classes have a label."""
    classes = classes_of(labels)
    if not classes:
        raise ValueError(
            f"none of the {len(labels)} items has a label; label at least one of each class"
        )
    if len(classes) == 1:
        raise ValueError(
            f"all labeled items are of one class, {classes[0]!r}; label items of a second class, too (an "
            "empty label or -1 stands for an unknown one)"
        )
