"""Partially labeled items, as the readers of image folders and tables return them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.data_warning import warn_data
from graphfew.data.label_marks import suggest_argument
from graphfew.data.label_values import label_values
from graphfew.data.labels import resolve_labels
from graphfew.errors import InvalidInputError

Labels = tuple[str | None, ...]


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


def parse_labels(
    texts: Sequence[str],
    unlabeled_marks: Sequence[str] | None = None,
    suggest: Callable[[Sequence[str]], str] = suggest_argument,
) -> Labels:
    """Convert the text of a table, or the names of folders, to labels.

    Warns of what is ambiguous; the rules are those of `graphfew.data.labels.resolve_labels`.

    Args:
        texts: `[n]` labels as text; surrounding blanks are removed.
        unlabeled_marks: the texts that mark unlabeled items; None takes the default ones.
        suggest: describes how the caller sets the marks.

    Returns:
        `[n]` labels; None if unknown.

    Example:
        >>> parse_labels(["cat", " dog ", "", "-1", "unlabelled"])
        ('cat', 'dog', None, None, None)
    """
    resolved = resolve_labels(label_values(list(texts)), unlabeled_marks, suggest=suggest)
    warn_data(resolved.notes)
    labels = zip(resolved.values.tolist(), resolved.is_unknown.tolist(), strict=True)
    return tuple(None if is_unknown else text.strip() for text, is_unknown in labels)


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
