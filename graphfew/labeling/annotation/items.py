"""The items of an annotation."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

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

    Raises:
        InvalidInputError: lengths differ, names are not distinct, or there are fewer than two
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

    def __post_init__(self) -> None:
        n_items = len(self.names)
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
        if len(self.index_of) < n_items:
            name, count = Counter(self.names).most_common(1)[0]
            raise InvalidInputError(
                f"{count} items have the name {name!r}; labels are stored by name, so give distinct "
                "ones, or omit the column of names"
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
        """Index of each item by its name."""
        return {name: index for index, name in enumerate(self.names)}
