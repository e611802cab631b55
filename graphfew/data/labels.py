"""Which labels are classes, and which mark an item as unlabeled: the same rules everywhere.

Start with `resolve_labels`. Classifier, commands, file readers and `arrays` all use it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.core.episode import UNKNOWN
from graphfew.data.class_names import merge_spellings, quoted, split_names_note
from graphfew.data.label_marks import (
    MarkCandidates,
    MarkChoice,
    SuggestMarks,
    choose_default_marks,
    given_keys,
    label_key,
    suggest_argument,
)
from graphfew.data.label_values import LabelValues, object_array
from graphfew.errors import InvalidInputError, InvalidTypeError

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class ResolvedLabels:
    """Labels, each either of a class or unknown.

    Attributes:
        values: `[n]` the labels; names that are one class are written alike.
        is_unknown: `[n]` bool, whether the item is unlabeled.
        marks: the marks of unlabeled items that occur, as text; without missing labels.
        notes: one line for each assumption that may be wrong.
    """

    values: Array
    is_unknown: NDArray[np.bool_]
    marks: tuple[str, ...]
    notes: tuple[str, ...]


def resolve_labels(
    labels: LabelValues,
    unlabeled_marks: Any = None,
    *,
    previous_classes: Iterable[Any] = (),
    suggest: SuggestMarks | None = None,
) -> ResolvedLabels:
    """Decide which labels are classes and which mark an item as unlabeled.

    Missing labels (None, NaN, NaT, NA, null) and blank text are always unknown. By default, so are
    -1 and -100, next to numbers or text, and these words in any case: "unlabeled", "unlabelled",
    "unknown", "NA", "N/A", "#N/A", "<NA>", "nan", "NaT", "none", "null", "?" and "-". If a single
    class remained, -1 next to a number and a word that may be a name are classes, too: labels -1
    and 1 are two classes. All of this is reported in `notes` where it is ambiguous.

    Args:
        labels: `[n]` the labels.
        unlabeled_marks: the mark or marks of unlabeled items, compared exactly, which replace the
            default ones; `()` if every label is a class. None takes the default ones.
        previous_classes: classes of earlier labels, which are no marks.
        suggest: describes how the caller sets marks; None is `suggest_argument`.

    Returns:
        The labels.

    Raises:
        InvalidInputError: the labels are not `[n]`, or the classes are text and numbers.
        InvalidTypeError: a label is a list or another value that cannot be a class.

    Example:
        >>> from graphfew.data.label_values import label_values
        >>> resolve_labels(label_values(["cat", "dog", "NA", -1, None])).is_unknown
        array([False, False,  True,  True,  True])
    """
    values, is_missing = labels.values, labels.is_missing
    if values.ndim != 1:
        raise InvalidInputError(f"y has shape {values.shape}; pass one label per item, shape [n]")
    distinct, index, counts = _distinct(values[~is_missing])
    previous = list(previous_classes)
    keys = [label_key(label) for label in distinct]
    previous_keys = {label_key(label) for label in previous}
    if unlabeled_marks is None:
        choice = choose_default_marks(
            MarkCandidates(tuple(keys), tuple(counts), previous_keys, bool(is_missing.any())),
            suggest or suggest_argument,
        )
    else:
        choice = MarkChoice(given_keys(unlabeled_marks) - previous_keys, ())
    is_class = np.array([key not in choice.keys for key in keys], dtype=bool)
    classes = [label for label, known in zip(distinct, is_class, strict=True) if known]
    _check_one_kind([*previous, *classes])
    names, previous_names = _texts(classes), _texts(previous)
    changes, spelling_notes = merge_spellings(names, previous_names)
    notes = choice.notes
    # Only new names are reported: for earlier ones, this was done before.
    if set(names) - set(previous_names):
        common_names = dict.fromkeys(changes.get(name, name) for name in names)
        notes += (*spelling_notes, *split_names_note([*common_names]))
    is_unknown = is_missing.copy()
    is_unknown[~is_missing] = ~is_class[index]
    if changes:
        renamed = object_array([_renamed(label, changes) for label in distinct])
        values = values.astype(object)
        values[~is_missing] = renamed[index]
        if labels.values.dtype != object:
            values = np.array(values.tolist())
    marks = dict.fromkeys(key for key in keys if key in choice.keys)
    return ResolvedLabels(values, is_unknown, tuple(marks), notes)


def class_indices(
    labels: ResolvedLabels, previous_classes: Array | None = None
) -> tuple[Array, NDArray[np.int64]]:
    """Compute the sorted classes, including previous ones, and the class index of each label.

    Args:
        labels: `[n]` the labels.
        previous_classes: classes of earlier labels.

    Returns:
        `[C]` classes, and `[n]` their indices: -1 if unknown.

    Raises:
        InvalidTypeError: the labels cannot be sorted.

    Example:
        >>> from graphfew.data.label_values import label_values
        >>> class_indices(resolve_labels(label_values([7, 5, -1, 7])))
        (array([5, 7]), array([ 1,  0, -1,  1]))
    """
    known = labels.values[~labels.is_unknown]
    values = known if previous_classes is None else np.concatenate([previous_classes, known])
    if values.dtype == object:
        try:
            classes = object_array(sorted(set(values.tolist())))
        except TypeError as error:
            raise InvalidTypeError(
                f"the labels cannot be sorted ({error}); give text or integers"
            ) from error
    else:
        classes = np.unique(values)
    index_of_class = {label: index for index, label in enumerate(classes.tolist())}
    class_index = np.full(len(labels.values), UNKNOWN, dtype=np.int64)
    class_index[~labels.is_unknown] = [index_of_class[label] for label in known.tolist()]
    return classes, class_index


def _distinct(values: Array) -> tuple[list[Any], NDArray[np.int64], list[int]]:
    """The distinct labels, and for each label its index among them; how often each occurs."""
    if values.dtype != object:
        found, index, counts = np.unique(values, return_inverse=True, return_counts=True)
        return found.tolist(), index.astype(np.int64), counts.tolist()
    labels = values.tolist()
    try:
        found_at = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    except TypeError as error:
        raise InvalidTypeError(f"a label is not text or a number ({error})") from error
    indices = np.array([found_at[label] for label in labels], dtype=np.int64)
    return list(found_at), indices, np.bincount(indices, minlength=len(found_at)).tolist()


def _check_one_kind(classes: Sequence[Any]) -> None:
    texts = [label for label in classes if isinstance(label, str)]
    numbers = [label for label in classes if isinstance(label, int | float | np.number | np.bool_)]
    if texts and numbers:
        raise InvalidInputError(
            f"the labels mix text, such as {quoted(texts[:1])}, and numbers, such as {numbers[0]}; "
            "give all as text, or all as numbers"
        )


def _texts(labels: Iterable[Any]) -> list[str]:
    return [label for label in labels if isinstance(label, str)]


def _renamed(label: Any, changes: Mapping[str, str]) -> Any:
    return changes.get(label, label) if isinstance(label, str) else label
