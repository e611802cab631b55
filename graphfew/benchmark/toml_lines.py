"""The line of every key of a TOML text: its parser tells the line of a fault of syntax alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

Place = tuple[str | int, ...]

_KEY = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_DOTTED = re.compile(rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*")
_PART = re.compile(_KEY)
_GAP = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:\s|#[^\n]*)+")
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|' r"'''.*?'''|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'|#[^\n]*|.",
    re.DOTALL,
)


def places(text: str) -> Mapping[Place, int]:
    """The line, from 1, of each table and key of a valid TOML text: `("train", 0, "steps")` is the key of the first
    `[[train]]`. Keys inside inline tables are not told; they stand where the table does.
    """
    found: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    for line, bracket, names in _statements(text):
        if not bracket:
            found.setdefault(table + names, line)
            continue
        table = _resolved(names, counts)
        if bracket == "[[":
            counts[table] = counts.get(table, -1) + 1
            table = (*table, counts[table])
        found.setdefault(table, line)
    return found


def line_of(known: Mapping[Place, int], place: Place) -> int:
    """The line of a place, else that of the nearest table around it, else 1."""
    while place and place not in known:
        place = place[:-1]
    return known.get(place, 1)


def _statements(text: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Line, opening brackets (none for a key) and names of each header and each key."""
    at = 0
    while True:
        blank = _BLANK.match(text, at)
        at = blank.end() if blank else at
        bracket = "[[" if text.startswith("[[", at) else "[" if text.startswith("[", at) else ""
        gap = _GAP.match(text, at + len(bracket))
        names = _DOTTED.match(text, gap.end() if gap else at)
        if names is None:
            return
        yield text.count("\n", 0, at) + 1, bracket, tuple(map(_plain, _PART.findall(names[0])))
        at = _end(text, names.end(), bracket)


def _end(text: str, at: int, bracket: str) -> int:
    """Where the statement ends: at the line break that is inside no string and no bracket."""
    depth = len(bracket)
    for token in _TOKEN.finditer(text, at):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if token[0] == "\n" and depth <= 0:
            return token.end()
    return len(text)


def _resolved(names: tuple[str, ...], counts: Mapping[Place, int]) -> Place:
    """The place of a header: below an array of tables, it is the array's newest one that is meant."""
    place: Place = ()
    for number, name in enumerate(names, 1):
        place = (*place, name)
        if place in counts and number < len(names):
            place = (*place, counts[place])
    return place


def _plain(name: str) -> str:
    if name.startswith("'"):
        return name[1:-1]
    if not name.startswith('"'):
        return name
    try:
        return str(json.loads(name))
    except json.JSONDecodeError:
        return name[1:-1]
