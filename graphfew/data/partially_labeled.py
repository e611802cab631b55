"""Partially labeled items, as the readers of image folders and tables return them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.errors import InvalidInputError

Labels = tuple[str | None, ...]

# Spellings of an unknown label: -1 is that of this library and of scikit-learn, "-1.0" what a table
# makes of it.
UNLABELED_TEXTS = ("", "-1", "-1.0", "unlabeled", "unlabelled")


@dataclasses.dataclass(frozen=True, eq=False)
class PartiallyLabeledItems:
    """Items with a name each, and a label if it is known.

    Attributes:
        x: `[n, F]` floating features, or `[n, c, h, w]` uint8 images.
        labels: `[n]` class names; None if unknown.
        names: `[n]` name of each item: a path, an id or a row number.

    Raises:
        InvalidInputError: lengths differ, or fewer than two classes have a label.

    Example:
        >>> items = PartiallyLabeledItems(np.eye(3), ("cat", None, "dog"), ("0", "1", "2"))
        >>> items.classes, items.class_index
        (('cat', 'dog'), array([ 0, -1,  1]))
    """

    x: NDArray[Any]
    labels: Labels
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.labels) == len(self.names):
            raise InvalidInputError(
                f"there are {len(self.x)} items, {len(self.labels)} labels and {len(self.names)} "
                "names; pass one label and one name per item"
            )
        check_labels(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return distinct_labels(self.labels)

    @property
    def class_index(self) -> NDArray[np.int64]:
        """`[n]` index of each item's label in `classes`; -1 if unknown."""
        index_of_class = {name: index for index, name in enumerate(self.classes)}
        indices = [-1 if label is None else index_of_class[label] for label in self.labels]
        return np.array(indices, dtype=np.int64)


def distinct_labels(labels: Labels) -> tuple[str, ...]:
    """Return the distinct labels, sorted, without None."""
    # Sorted, so that class indices do not depend on the order of the items.
    return tuple(sorted({label for label in labels if label is not None}))


def parse_labels(texts: Sequence[str]) -> Labels:
    """Convert the text of a table to labels.

    Args:
        texts: `[n]` labels as text; surrounding blanks are removed.

    Returns:
        `[n]` labels; None for an empty text, -1, "unlabeled" and "unlabelled".

    Example:
        >>> parse_labels(["cat", " dog ", "", "-1", "unlabelled"])
        ('cat', 'dog', None, None, None)
    """
    stripped = [text.strip() for text in texts]
    return tuple(None if text.lower() in UNLABELED_TEXTS else text for text in stripped)


def check_labels(labels: Labels) -> None:
    """Raise InvalidInputError if fewer than two classes have a label."""
    classes = distinct_labels(labels)
    if not classes:
        raise InvalidInputError(
            f"none of the {len(labels)} items has a label; label at least one item of each class"
        )
    if len(classes) == 1:
        raise InvalidInputError(
            f"all labeled items belong to one class, {classes[0]!r}; label items of a second "
            "class, too (an empty label or -1 means unknown)"
        )
