"""A TOML file as tables that know where they stand, so that a fault names its file, line and key."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphfew.benchmark.toml_lines import Place, line_of, places

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The parser's time grows with the square of a key's parts: 5,000 take ten seconds.
DEEPEST = 100
WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table of a TOML file.

    Shapes:
        path: the file.
        lines: of every key of the file.
        place: of this table in it: `("train", 0)`; the whole file is `()`.
        content: its values.
    """

    path: Path
    lines: Mapping[Place, int]
    place: Place
    content: Mapping[str, Any]

    @property
    def title(self) -> str:
        """`[data]`, `[[train]]`, or the file's name for the whole file."""
        if not self.place:
            return self.path.name
        names = ".".join(name for name in self.place if isinstance(name, str))
        return f"[[{names}]]" if isinstance(self.place[-1], int) else f"[{names}]"

    def fault(self, message: str, key: str | None = None) -> ValueError:
        """An error that says where: file and line, of the key where one is given."""
        place = self.place if key is None else (*self.place, key)
        return ValueError(f"{self.path}, line {line_of(self.lines, place)}: {message}")

    def meant(self, message: str) -> str | None:
        """The key that a message of elsewhere speaks of, where it can be told: by its name, else by its value."""
        for key in self.content:
            if re.search(rf"\b{re.escape(key)} is ", message) or message.startswith(f"{key} "):
                return key
        for key, value in self.content.items():
            words = [*value, *value.values()] if isinstance(value, dict) else [value]
            if key != "name" and any(
                repr(word) in message for word in words if isinstance(word, str)
            ):
                return key
        return None

    def allow(self, names: Iterable[str]) -> None:
        """Raises ValueError for a key that is not among the names."""
        known = tuple(names)
        for key in self.content:
            if key not in known:
                raise self.fault(f"{self.title} has no key {key!r}; {nearest(key, known)}", key)

    def need(self, key: str) -> Any:
        """The value of a key. Raises ValueError where it is missing."""
        if key not in self.content:
            raise self.fault(f"{self.title} lacks the key {key!r}")
        return self.content[key]

    def text(self, key: str, default: str | None = None) -> str:
        """Text. Raises ValueError for anything else, or where it is missing and there is no default."""
        return str(self._typed(key, str, default))

    def number(self, key: str, default: int, least: int) -> int:
        """A whole number. Raises ValueError for anything else, and below `least`."""
        value = int(self._typed(key, int, default))
        if value < least:
            raise self.fault(f"{key} in {self.title} is {value}; it must be at least {least}", key)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false. Raises ValueError for anything else."""
        return bool(self._typed(key, bool, default))

    def choice(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        """One of the known texts. Raises ValueError for anything else."""
        value = self.text(key, default)
        if value not in known:
            raise self.fault(f"{key} in {self.title} is {value!r}; {nearest(value, known)}", key)
        return value

    def several(self, key: str, default: object) -> tuple[Any, ...]:
        """The values of a list; a single value is a list of one. Raises ValueError for a list that is empty."""
        value = self.content.get(key, default)
        values = tuple(value) if isinstance(value, list) else (value,)
        if not values:
            raise self.fault(
                f"{key} in {self.title} is an empty list; give at least one value, or leave it out",
                key,
            )
        return values

    def table(self, key: str) -> Table:
        """The table below a key, an empty one where there is none. Raises ValueError for anything else."""
        return self._below((key,), self._typed(key, dict, {}))

    def tables(self, key: str) -> tuple[Table, ...]:
        """The tables of an array of tables, none where it is missing. Raises ValueError for anything else."""
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise self.fault(
                f"{key} must be an array of tables; write its entries as [[{key}]]", key
            )
        return tuple(self._below((key, index), part) for index, part in enumerate(value))

    def some(self, key: str) -> tuple[Table, ...]:
        """As `tables`, at least one. Raises ValueError where there is none."""
        entries = self.tables(key)
        if not entries:
            raise self.fault(f"{self.title} has no [[{key}]]; give at least one")
        return entries

    def plain(self, key: str) -> dict[str, Any]:
        """A table of JSON values, such as arguments; empty where it is missing. Raises ValueError for anything else."""
        value: dict[str, Any] = dict(self._typed(key, dict, {}))
        stray = next(_not_json(value), None)
        if stray is not None:
            raise self.fault(
                f"{key} in {self.title} holds {stray}; give text, numbers, true or false, lists or tables",
                key,
            )
        return value

    def _typed(self, key: str, kind: type, default: object) -> Any:
        value = self.content.get(key, default) if default is not None else self.need(key)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise self.fault(f"{key} in {self.title} is {value!r}; give {WORDS[kind]}", key)
        return value

    def _below(self, names: Place, content: Mapping[str, Any]) -> Table:
        return Table(self.path, self.lines, self.place + names, content)


def read_toml(path: Path) -> Table:
    """The whole file as a table.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no TOML; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no spec {path}; give a TOML file")
    try:
        text = path.read_text(encoding="utf-8")
        content = parsed(text)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line 1: this is no text in UTF-8 ({error.reason}); give a TOML file"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_syntax(path, str(error), text)) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}, line 1: this TOML cannot be read ({_why(error)}); write shorter numbers and keys, "
            "and tables less deep in one another"
        ) from error
    return Table(path, places(text), (), content)


def parsed(text: str) -> dict[str, Any]:
    """What a TOML text holds. Raises ValueError for what is none, RecursionError for one nested too deep."""
    for number, line in enumerate(text.splitlines(), 1):
        parts = re.split("[=,{]", line) if line.count(".") >= DEEPEST else ()
        if any(
            part.count(".") >= DEEPEST and ".." not in part and " " not in part.strip()
            for part in parts
        ):
            raise ValueError(f"a key in line {number} has {DEEPEST} parts or more")
    content: dict[str, Any] = tomllib.loads(text)
    return content


def nearest(word: str, known: Iterable[str]) -> str:
    """What may have been meant, else all that is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"


def _syntax(path: Path, reason: str, text: str) -> str:
    where = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", reason)
    line = where[1] if where and where[1] else str(text.count("\n") + 1)
    column = f" in column {where[2]}" if where and where[2] else ""
    return f"{path}, line {line}: this is no TOML: {reason[: where.start()] if where else reason}{column}"


def _why(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


def _not_json(value: object) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _not_json(part)
    elif not isinstance(value, str | int | float | bool):
        yield value
