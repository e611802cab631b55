"""The classes of a data set, and the class of each item, from labels of any form."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.core.episode import UNKNOWN
from graphfew.data.label_marks import show_mark, suggest_argument
from graphfew.data.label_values import LabelValues, label_values
from graphfew.data.labels import class_indices, resolve_labels
from graphfew.errors import InvalidInputError, InvalidTypeError


@dataclasses.dataclass(frozen=True, eq=False)
class DatasetLabels:
    """Class names, and the class of each item.

    Attributes:
        classes: name of each class; every class has an item.
        index: `[n]` class index of each item, -1 for items without a label.
        notes: one line for each assumption that may be wrong.
    """

    classes: tuple[str, ...]
    index: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """`[n]` whether an item has a label."""
        is_known: NDArray[np.bool_] = self.index != UNKNOWN
        return is_known


def read_labels(y: Any, unlabeled_marks: Any = None) -> DatasetLabels:
    """Read labels of any sortable type; classes are sorted.

    Args:
        y: `[n]` labels.
        unlabeled_marks: as for `graphfew.data.labels.resolve_labels`.

    Returns:
        The labels.

    Raises:
        InvalidTypeError: `y` cannot be read as labels.
        InvalidInputError: no label is known.

    Example:
        >>> labels = read_labels(["dog", "cat", "dog"])
        >>> labels.classes, labels.index
        (('cat', 'dog'), array([1, 0, 1]))
    """
    labels = resolve_labels(_to_label_values(y), unlabeled_marks)
    classes, index = class_indices(labels)
    marks = [show_mark(mark) for mark in labels.marks if mark]
    remedy = "label them to use them"
    if marks:
        remedy = f"if these are classes, pass {suggest_argument([])}"
    notes = (*labels.notes, *_left_out_notes(labels.is_unknown, marks, remedy))
    return DatasetLabels(tuple(_class_name(label) for label in classes), index, notes)


def read_class_indices(y: Sequence[Any], names: Sequence[str]) -> DatasetLabels:
    """Read class indices whose names are given, in their order; negative ones are unknown.

    Args:
        y: `[n]` indices.
        names: name of each class; those without an item are left out.

    Returns:
        The labels.

    Raises:
        InvalidTypeError: a label is not an integer.
        InvalidInputError: an index has no name, or no label is known.

    Example:
        >>> labels = read_class_indices([2, 0, -1], ["cat", "cow", "dog"])
        >>> labels.classes, labels.index
        (('cat', 'dog'), array([ 1,  0, -1]))
    """
    values = np.asarray(y)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InvalidTypeError(
            f"labels are {values.dtype} of shape {values.shape}; with class names, they must be [n] "
            "integers"
        )
    if len(values) and values.max() >= len(names):
        raise InvalidInputError(
            f"there is a label {values.max()}, but only {len(names)} class names "
            f"(0 to {len(names) - 1}); pass one name per class"
        )
    is_unknown = values < 0
    present = np.unique(values[~is_unknown])
    index = np.full(len(values), UNKNOWN, dtype=np.int64)
    index[~is_unknown] = np.searchsorted(present, values[~is_unknown])
    notes = _left_out_notes(is_unknown, ["negative labels"], "label them to use them")
    return DatasetLabels(tuple(str(names[label]) for label in present), index, notes)


def _to_label_values(y: Any) -> LabelValues:
    try:
        return label_values(y)
    except (TypeError, NotImplementedError) as error:
        raise InvalidTypeError(
            f"y cannot be read as labels ({error}); pass integers or text"
        ) from error


def _class_name(label: Any) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _left_out_notes(
    is_unknown: NDArray[np.bool_], marks: Sequence[str], remedy: str
) -> tuple[str, ...]:
    n_items, n_unknown = len(is_unknown), int(is_unknown.sum())
    if not n_unknown:
        return ()
    shown = ", ".join(marks) or "missing or empty"
    if n_unknown == n_items:
        raise InvalidInputError(f"none of the {n_items} items has a label ({shown}); {remedy}")
    return (
        f"{n_unknown} of {n_items} items have no label ({shown}) and are left out, because a Dataset "
        f"holds labeled items only; {remedy}",
    )
