"""A factory's docstring in its parts."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

# A section stands alone on its line with an indented block below, or goes on as a paragraph.
_BLOCK = re.compile(r"^(Formula|Args|Raises):\n", re.MULTILINE)
_TEXT = re.compile(r"^(Source|Deviations): ")


@dataclasses.dataclass(frozen=True)
class Docstring:
    """The parts of a docstring.

    Shapes:
        summary: its first line.
        notes: paragraphs that are no section.
        formula: lines, empty where there is none.
        arguments: what each argument is; several of one meaning stand together, as `steps, lr`.
        raises, source, deviations: text, empty where there is none.
    """

    summary: str
    notes: tuple[str, ...]
    formula: tuple[str, ...]
    arguments: Mapping[str, str]
    raises: str
    source: str
    deviations: str


def parse(factory: Callable[..., Any]) -> Docstring:
    """The docstring of a function, in its parts.

    Raises:
        ValueError: it has none.
    """
    text = inspect.getdoc(factory)
    if not text:
        raise ValueError(
            f"{factory.__name__} has no docstring; write one line, formula, source and deviations"
        )
    blocks: dict[str, str] = {}
    notes: list[str] = []
    for part in re.split(r"\n\s*\n", text):
        if block := _BLOCK.match(part):
            blocks[block[1]] = textwrap.dedent(part[block.end() :])
        elif named := _TEXT.match(part):
            blocks[named[1]] = _joined(part[named.end() :])
        else:
            notes.append(_joined(part))
    return Docstring(
        notes[0],
        tuple(notes[1:]),
        tuple(blocks.get("Formula", "").splitlines()),
        MappingProxyType(_named(blocks.get("Args", ""))),
        _joined(blocks.get("Raises", "")),
        blocks.get("Source", ""),
        blocks.get("Deviations", ""),
    )


def _joined(text: str) -> str:
    return " ".join(text.split())


def _named(block: str) -> dict[str, str]:
    """`name: text`, with continuation lines indented."""
    entries = re.split(r"\n(?=\S)", block) if block else []
    pairs = (entry.partition(":") for entry in entries)
    return {name: _joined(text) for name, _, text in pairs}
