"""Which labels are classes, and which mark an item as unlabeled: the same rules everywhere.

Start with `resolve_labels`. Classifier, commands, file readers and `arrays` all use it.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.core.episode import UNKNOWN
from graphfew.data.class_names import merge_spellings, quoted, split_names_note
from graphfew.data.label_values import LabelValues, object_array
from graphfew.errors import InvalidInputError, InvalidTypeError

Array = NDArray[Any]
# Receives the marks to set and returns how the caller sets them.
Suggest = Callable[[Sequence[str]], str]

# -1 is the mark of this library and of scikit-learn, -100 torch's `ignore_index`.
NUMBER_MARKS = ("-1", "-100")
CLEAR_MARKS = (*NUMBER_MARKS, "?", "n/a", "#n/a", "<na>", "nan", "nat", "unlabeled", "unlabelled")
# Names that real classes have, too: Namibia's code, a finding that is absent, an open-set class.
AMBIGUOUS_MARKS = ("-", "na", "none", "null", "unknown")

_INTEGER = re.compile(r"[+-]?\d{1,18}(\.0*)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


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
    suggest: Suggest | None = None,
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
    keys = [_key(label) for label in distinct]
    class_keys = {_key(label) for label in previous}
    has_missing = bool(is_missing.any())
    if unlabeled_marks is None:
        choice = _choose_marks(keys, counts, class_keys, has_missing, suggest or suggest_argument)
    else:
        choice = _MarkChoice(frozenset(_given_keys(unlabeled_marks) - class_keys), ())
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


def is_default_mark(label: str) -> bool:
    """Return whether a text marks an unlabeled item by default.

    Example:
        >>> is_default_mark(" Unlabelled"), is_default_mark("cat")
        (True, False)
    """
    folded = _key(label).casefold()
    return not folded or folded in CLEAR_MARKS or folded in AMBIGUOUS_MARKS


def show_mark(mark: str) -> str:
    """Return a mark as messages show it: numbers without quotes.

    Example:
        >>> show_mark("-1"), show_mark("NA")
        ('-1', '"NA"')
    """
    return mark if _NUMBER.fullmatch(mark) else quoted([mark])


def suggest_argument(marks: Sequence[str]) -> str:
    """Describe how Python code sets the marks of unlabeled items.

    Example:
        >>> suggest_argument(["NA"]), suggest_argument(["-1"]), suggest_argument([])
        ('unlabeled_marks="NA"', 'unlabeled_marks=-1', 'unlabeled_marks=()')
    """
    texts = [mark if _INTEGER.fullmatch(mark) else f'"{mark}"' for mark in marks]
    if len(texts) == 1:
        return f"unlabeled_marks={texts[0]}"
    return f"unlabeled_marks=({', '.join(texts)})"


def suggest_option(marks: Sequence[str]) -> str:
    """Describe how a command sets the marks of unlabeled items.

    Example:
        >>> suggest_option(["NA", "?"]), suggest_option([])
        ("--unlabeled-mark=NA --unlabeled-mark='?'", "--unlabeled-mark=''")
    """
    return " ".join(f"--unlabeled-mark={shlex.quote(mark)}" for mark in marks or [""])


@dataclasses.dataclass(frozen=True)
class _MarkChoice:
    """Keys of the labels that are marks, and notes on what is ambiguous."""

    keys: frozenset[str]
    notes: tuple[str, ...]


def _choose_marks(
    keys: Sequence[str],
    counts: Sequence[int],
    previous_keys: Collection[str],
    has_missing: bool,
    suggest: Suggest,
) -> _MarkChoice:
    """Choose among the default marks."""
    found = [key for key in dict.fromkeys(keys) if is_default_mark(key)]
    found = [key for key in found if key not in previous_keys]
    class_keys = {*keys, *previous_keys} - set(found)
    n_items: Counter[str] = Counter()
    for key, count in zip(keys, counts, strict=True):
        n_items[key] += count
    notes: list[str] = []
    if len(class_keys) == 1:
        # One class cannot be classified, so a mark that may be a name is the second class.
        other = next(iter(class_keys))
        candidates = [key for key in found if _may_be_class(key, other)]
        if len(candidates) == 1:
            found.remove(candidates[0])
            class_keys |= {candidates[0]}
            # -1 and 1 are the usual coding of two classes.
            if class_keys != {"-1", "1"}:
                notes.append(
                    f"{_described(candidates, n_items)} is taken as a class, next to the only other "
                    f"class {show_mark(other)}; if it marks unlabeled items, pass "
                    f"{suggest([*candidates, *_named(found)])}"
                )
    n_kinds = len(found) + has_missing
    are_numbers = bool(class_keys) and all(_NUMBER.fullmatch(key) for key in class_keys)
    # A number among numbers may be a class if something else marks unlabeled items, or if there
    # are other negative classes.
    numbers_are_ambiguous = are_numbers and (
        n_kinds > 1 or any(key.startswith("-") for key in class_keys)
    )
    ambiguous = [
        key
        for key in found
        if key.casefold() in AMBIGUOUS_MARKS or (key in NUMBER_MARKS and numbers_are_ambiguous)
    ]
    if ambiguous:
        remaining = [key for key in found if key not in ambiguous]
        verb, pronoun = ("is", "it is") if len(ambiguous) == 1 else ("are", "they are")
        plural = "a class" if len(ambiguous) == 1 else "classes"
        notes.append(
            f"{_described(ambiguous, n_items)} {verb} taken as unknown; if {pronoun} {plural}, pass "
            f"{suggest(_named(remaining))}"
        )
    return _MarkChoice(frozenset(found), tuple(notes))


def _may_be_class(mark: str, other_class: str) -> bool:
    """Whether a mark may be the second class next to another one."""
    if mark in NUMBER_MARKS:
        return mark == str(UNKNOWN) and bool(_NUMBER.fullmatch(other_class))
    return mark.casefold() in AMBIGUOUS_MARKS


def _named(marks: Iterable[str]) -> list[str]:
    """The marks that must be set to be recognized: blank text always is."""
    return [mark for mark in marks if mark]


def _described(marks: Sequence[str], n_items: Counter[str]) -> str:
    texts = []
    for mark in marks:
        unit = "item" if n_items[mark] == 1 else "items"
        texts.append(f"{show_mark(mark)} ({n_items[mark]} {unit})")
    noun = "the label" if len(texts) == 1 else "the labels"
    return f"{noun} {' and '.join(texts)}"


def _given_keys(unlabeled_marks: Any) -> set[str]:
    """The keys of given marks; blank text always is one."""
    is_single = isinstance(unlabeled_marks, str | bytes) or np.ndim(unlabeled_marks) == 0
    marks = [unlabeled_marks] if is_single and not _is_set(unlabeled_marks) else [*unlabeled_marks]
    return {"", *(_key(mark) for mark in marks)}


def _is_set(value: Any) -> bool:
    # NumPy takes a set as a scalar.
    return isinstance(value, set | frozenset)


def _key(label: Any) -> str:
    """The text by which labels and marks are compared: the same for -1, -1.0, "-1" and " -1.0"."""
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    text = unicodedata.normalize("NFC", str(label)).strip()
    return str(int(text.partition(".")[0])) if _INTEGER.fullmatch(text) else text


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
