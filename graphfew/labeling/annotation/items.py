"""The items of an annotation."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from graphfew.encoders.digests import item_digest
from graphfew.errors import InvalidInputError

ItemKind = Literal["text", "image", "features"]


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotationItems:
    """Items to show, with features to compare them.

    Attributes:
        kind: what `contents` has: texts, paths of images or arrays of images, or nothing to show.
        names: `[n]` distinct names.
        contents: `[n]` texts, paths, or images; empty for features.
        features: `[n, F]` float32.
        labels: `[n]` labels in the source, None if unknown.
        root: folder that contains all images; files outside it are not shown.
        keys: `[n]` distinct keys of the items in the log; empty if these are the names.

    Raises:
        InvalidInputError: lengths differ, names or keys are not distinct, or there are fewer than two
            items.

    Example:
        >>> import numpy as np
        >>> items = AnnotationItems("text", ("0", "1"), ("hi", "bye"), np.eye(2), (None, None))
        >>> items.index_of["1"]
        1
    """

    kind: ItemKind
    names: tuple[str, ...]
    contents: Sequence[Any] | NDArray[Any]
    features: NDArray[Any]
    labels: tuple[str | None, ...]
    root: Path | None = None
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_items = len(self.names)
        if not self.keys:
            object.__setattr__(self, "keys", self.names)
        if n_items < 2:
            raise InvalidInputError(
                f"there are {n_items} items; an annotation needs at least 2 to compare"
            )
        if not n_items == len(self.labels) == len(self.features):
            raise InvalidInputError(
                f"there are {n_items} names, {len(self.labels)} labels and {len(self.features)} "
                "rows of features; pass one of each per item"
            )
        if self.kind != "features" and len(self.contents) != n_items:
            raise InvalidInputError(
                f"there are {n_items} names and {len(self.contents)} {self.kind} items; pass one "
                "name per item"
            )
        if len(set(self.names)) < n_items:
            name, count = Counter(self.names).most_common(1)[0]
            raise InvalidInputError(
                f"{count} items have the name {name!r}; labels are stored by name, so give distinct "
                "ones, or omit the column of names"
            )
        if len(self.index_of) != n_items or len(self.keys) != n_items:
            raise InvalidInputError(
                f"there are {n_items} names and {len(self.index_of)} distinct keys; pass one per item"
            )

    def __len__(self) -> int:
        return len(self.names)

    def paths_outside(self) -> list[Path]:
        """Return the images that are not in `root`."""
        if self.root is None or self.kind != "image":
            return []
        root = self.root.resolve()
        paths = (content for content in self.contents if isinstance(content, str | Path))
        return [Path(path) for path in paths if not Path(path).resolve().is_relative_to(root)]

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Index of each item by its key."""
        return {key: index for index, key in enumerate(self.keys)}

    def name_of(self, key: str) -> str:
        """Return the name of an item, or its key if the source does not have it anymore."""
        index = self.index_of.get(key)
        return key if index is None else self.names[index]


def row_keys(contents: Iterable[Any]) -> tuple[str, ...]:
    """Compute keys of items that have no names but their row numbers.

    Row numbers change if rows are added, removed or sorted; labels must then stay with their items.

    Args:
        contents: texts, paths, images or rows of features.

    Returns:
        Digests of the contents. Further items of the same content have a number after it.

    Example:
        >>> first, second, third = row_keys(["hi", "bye", "hi"])
        >>> third == f"{first}-2", row_keys(["bye"]) == (second,)
        (True, True)
    """
    counts: Counter[str] = Counter()
    keys = []
    for content in contents:
        digest = item_digest(content).hex()
        counts[digest] += 1
        keys.append(digest if counts[digest] == 1 else f"{digest}-{counts[digest]}")
    return tuple(keys)
