"""Marks of unlabeled items among the labels, and how messages name them."""

from __future__ import annotations

import dataclasses
import re
import shlex
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

from graphfew.core.episode import UNKNOWN
from graphfew.data.class_names import quoted

# Receives the marks to set and returns how the caller sets them.
SuggestMarks = Callable[[Sequence[str]], str]

# -1 is the mark of this library and of scikit-learn, -100 torch's `ignore_index`.
NUMBER_MARKS = ("-1", "-100")
CLEAR_MARKS = (*NUMBER_MARKS, "?", "n/a", "#n/a", "<na>", "nan", "nat", "unlabeled", "unlabelled")
# Names that real classes have, too: Namibia's code, a finding that is absent, an open-set class.
AMBIGUOUS_MARKS = ("-", "na", "none", "null", "unknown")

_INTEGER = re.compile(r"[+-]?\d{1,18}(\.0*)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclasses.dataclass(frozen=True)
class MarkChoice:
    """Which labels are marks.

    Attributes:
        keys: keys of the labels that are marks.
        notes: one line for each assumption that may be wrong.
    """

    keys: Collection[str]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MarkCandidates:
    """The distinct labels, some of which may be marks.

    Attributes:
        keys: `label_key` of each distinct label.
        counts: number of items with this label.
        previous_keys: keys of earlier classes, which are no marks.
        has_missing: whether there are missing labels, too.
    """

    keys: tuple[str, ...]
    counts: tuple[int, ...]
    previous_keys: Collection[str]
    has_missing: bool

    @cached_property
    def default_marks(self) -> tuple[str, ...]:
        """Keys that are default marks."""
        keys = [key for key in self.keys if key not in self.previous_keys]
        return tuple(dict.fromkeys(key for key in keys if is_default_mark(key)))

    @cached_property
    def class_keys(self) -> Collection[str]:
        """All other keys."""
        return {*self.keys, *self.previous_keys} - {*self.default_marks}

    def describe(self, marks: Sequence[str]) -> str:
        """Name labels with their number of items."""
        texts = []
        for mark in marks:
            pairs = zip(self.keys, self.counts, strict=True)
            n_items = sum(count for key, count in pairs if key == mark)
            texts.append(f"{show_mark(mark)} ({n_items} {'item' if n_items == 1 else 'items'})")
        noun = "the label" if len(texts) == 1 else "the labels"
        return f"{noun} {' and '.join(texts)}"


def choose_default_marks(candidates: MarkCandidates, suggest: SuggestMarks) -> MarkChoice:
    """Choose the marks among the default ones.

    Args:
        candidates: the distinct labels.
        suggest: describes how the caller sets marks.

    Returns:
        The marks; the rules are those of `graphfew.data.labels.resolve_labels`.

    Example:
        >>> labels = MarkCandidates(("cat", "dog", "NA"), (2, 2, 1), (), has_missing=False)
        >>> choose_default_marks(labels, suggest_argument).notes
        ('the label "NA" (1 item) is taken as unknown; if it is a class, pass unlabeled_marks=()',)
    """
    class_keys, notes = candidates.class_keys, []
    second_class = _second_class(candidates)
    marks = [mark for mark in candidates.default_marks if mark != second_class]
    if second_class is not None:
        (other,) = class_keys
        class_keys = {other, second_class}
        # -1 and 1 are the usual coding of two classes.
        if class_keys != {"-1", "1"}:
            notes.append(
                f"{candidates.describe([second_class])} is taken as a class, next to the only other "
                f"class {show_mark(other)}; if it marks unlabeled items, pass "
                f"{suggest([second_class, *_without_blank(marks)])}"
            )
    ambiguous = _ambiguous_marks(marks, class_keys, has_missing=candidates.has_missing)
    if ambiguous:
        clear = _without_blank(mark for mark in marks if mark not in ambiguous)
        assumed, otherwise = "is taken as unknown", "it is a class"
        if len(ambiguous) > 1:
            assumed, otherwise = "are taken as unknown", "they are classes"
        described = candidates.describe(ambiguous)
        notes.append(f"{described} {assumed}; if {otherwise}, pass {suggest(clear)}")
    return MarkChoice(marks, tuple(notes))


def label_key(label: Any) -> str:
    """Return the text by which labels and marks are compared: -1, -1.0, "-1" and " -1.0" are equal.

    Example:
        >>> label_key(-1.0), label_key(" cat")
        ('-1', 'cat')
    """
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    text = unicodedata.normalize("NFC", str(label)).strip()
    return str(int(text.partition(".")[0])) if _INTEGER.fullmatch(text) else text


def given_keys(unlabeled_marks: Any) -> set[str]:
    """Return the keys of given marks; blank text always is one.

    Example:
        >>> sorted(given_keys(["NA", 7]))
        ['', '7', 'NA']
    """
    is_single = isinstance(unlabeled_marks, str | bytes) or not isinstance(
        unlabeled_marks, Iterable
    )
    marks = [unlabeled_marks] if is_single else list(unlabeled_marks)
    return {"", *(label_key(mark) for mark in marks)}


def is_default_mark(label: str) -> bool:
    """Return whether a text marks an unlabeled item by default.

    Example:
        >>> is_default_mark(" Unlabelled"), is_default_mark("cat")
        (True, False)
    """
    folded = label_key(label).casefold()
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


def _second_class(candidates: MarkCandidates) -> str | None:
    """The mark that is the second class: one class cannot be classified."""
    if len(candidates.class_keys) != 1:
        return None
    (other,) = candidates.class_keys
    possible = [mark for mark in candidates.default_marks if _may_be_class(mark, other)]
    return possible[0] if len(possible) == 1 else None


def _may_be_class(mark: str, other_class: str) -> bool:
    if mark in NUMBER_MARKS:
        return mark == str(UNKNOWN) and bool(_NUMBER.fullmatch(other_class))
    return mark.casefold() in AMBIGUOUS_MARKS


def _ambiguous_marks(
    marks: Sequence[str], class_keys: Collection[str], *, has_missing: bool
) -> list[str]:
    """The marks that may be classes."""
    are_numbers = bool(class_keys) and all(_NUMBER.fullmatch(key) for key in class_keys)
    has_negative = any(key.startswith("-") for key in class_keys)
    # A number may be a class next to other negative ones, or if something else marks unlabeled
    # items.
    is_number_ambiguous = are_numbers and (has_negative or len(marks) + has_missing > 1)
    ambiguous = []
    for mark in marks:
        is_word = mark.casefold() in AMBIGUOUS_MARKS
        if is_word or (mark in NUMBER_MARKS and is_number_ambiguous):
            ambiguous.append(mark)
    return ambiguous


def _without_blank(marks: Iterable[str]) -> list[str]:
    """The marks that must be set to be recognized: blank text always is."""
    return [mark for mark in marks if mark]
