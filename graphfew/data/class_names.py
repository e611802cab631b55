"""Names of classes that are easily confused with each other, or with something else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

# Names of the parts of a data set.
SPLIT_NAMES = frozenset(
    (
        "train",
        "training",
        "test",
        "testing",
        "val",
        "valid",
        "validation",
        "dev",
        "eval",
        "evaluation",
    )
)
_MAX_GROUPS_SHOWN = 3
# An integer, without leading zeros and with zeros after the decimal point.
_INTEGER = re.compile(r"0*(\d+)(?:\.0*)?")


def merge_spellings(
    names: Iterable[str], first_names: Collection[str] = ()
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Find names that are one class although they are written differently.

    Names are one class if they differ only in surrounding blanks or in Unicode's composition of
    letters, which no screen shows. Names that differ in case, in other blanks, in compatibility
    forms or as numbers are written ("1" and "1.0") remain separate and are reported.

    Args:
        names: names of classes.
        first_names: names that keep their spelling, such as those of earlier calls.

    Returns:
        The common name of each name that changes, and a note for each kind of difference.

    Example:
        >>> changes, notes = merge_spellings(["cat", "cat ", "dog"])
        >>> changes
        {'cat ': 'cat'}
        >>> notes[0]
        '"cat" and "cat " differ only in blanks or Unicode form and are one class, "cat"; if they are two, rename one'
    """
    all_names = list(dict.fromkeys((*first_names, *names)))
    changes: dict[str, str] = {}
    merged: list[str] = []
    for common, group in _groups(all_names, _exact_form):
        name = next((name for name in group if name in first_names), common)
        changes |= {other: name for other in group if other != name}
        merged.append(f"{quoted(group)} differ only in blanks or Unicode form and are one class")
        merged[-1] += f', "{name}"'
    notes = [f"{text}; if they are two, rename one" for text in _shortened(merged)]
    remaining = list(dict.fromkeys(changes.get(name, name) for name in all_names))
    separate = [
        f"{quoted(group)} differ only in case, blanks, or the form of letters or numbers and are "
        f"{len(group)} classes"
        for _, group in _groups(remaining, _similar_form)
    ]
    notes += [f"{text}; if they are one, give them the same name" for text in _shortened(separate)]
    return changes, tuple(notes)


def split_names_note(names: Collection[str]) -> tuple[str, ...]:
    """Return a note if all names of the classes are names of splits, otherwise nothing.

    Example:
        >>> split_names_note(["cat", "test"])
        ()
    """
    if len(names) < 2 or not all(is_split_name(name) for name in names):
        return ()
    return (
        f"all classes are called like splits, {quoted(sorted(names))}, and are taken as classes; if "
        "they are splits, give the items of one split, with the labels of their classes",
    )


def is_split_name(name: str) -> bool:
    """Return whether a name is that of a split, such as "train", in any case.

    Example:
        >>> is_split_name("Test"), is_split_name("train station")
        (True, False)
    """
    return name.strip().casefold() in SPLIT_NAMES


def quoted(names: Sequence[str]) -> str:
    """Join names in quotes: `"a", "b" and "c"`.

    Example:
        >>> quoted(["cat", "dog"])
        '"cat" and "dog"'
    """
    texts = [f'"{_visible(name)}"' for name in names]
    if len(texts) == 1:
        return texts[0]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def _visible(name: str) -> str:
    """Escape what does not print, such as zero-width characters and combining accents."""
    return "".join(
        char if char.isprintable() and not unicodedata.combining(char) else ascii(char)[1:-1]
        for char in name
    )


def _groups(names: Sequence[str], form: Callable[[str], str]) -> list[tuple[str, list[str]]]:
    """The names with an equal form, if there are several."""
    names_of_form: dict[str, list[str]] = {}
    for name in names:
        names_of_form.setdefault(form(name), []).append(name)
    return [(key, group) for key, group in names_of_form.items() if len(group) > 1]


def _exact_form(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _similar_form(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    # Zero-width characters (category Cf) print nothing either.
    visible = (char for char in folded if unicodedata.category(char) != "Cf")
    text = "".join("".join(visible).split())
    integer = _INTEGER.fullmatch(text)
    return text if integer is None else integer[1]


def _shortened(texts: Sequence[str]) -> list[str]:
    """The texts as one line, without the last ones if there are many; nothing for none."""
    if not texts:
        return []
    line = "; ".join(texts[:_MAX_GROUPS_SHOWN])
    n_more = len(texts) - _MAX_GROUPS_SHOWN
    return [f"{line}; and {n_more} more" if n_more > 0 else line]
