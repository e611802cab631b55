"""Parse the docstring of a method factory into its sections."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

SECTIONS = ("Formula", "Args", "Returns", "Raises", "Example", "Source", "Deviations")
_HEADER = re.compile(rf"({'|'.join(SECTIONS)}):")


@dataclasses.dataclass(frozen=True)
class Docstring:
    """The sections of a factory's docstring; a section that is absent is empty.

    Attributes:
        summary: the first line.
        notes: paragraphs of free text after the summary.
        formula: lines of the formula.
        arguments: description of each argument.
        returns: description of the returned method.
        raises: description of each exception.
        example: lines of the doctest.
        source: authors, year and title of the paper.
        deviations: differences from the paper.
    """

    summary: str
    notes: tuple[str, ...]
    formula: tuple[str, ...]
    arguments: Mapping[str, str]
    returns: str
    raises: Mapping[str, str]
    example: tuple[str, ...]
    source: str
    deviations: str


def parse(factory: Callable[..., Any]) -> Docstring:
    """Parse the docstring of a method factory.

    Args:
        factory: a documented function.

    Returns:
        The sections of its docstring.

    Raises:
        ValueError: if the function has no docstring.
    """
    text = inspect.getdoc(factory)
    if not text:
        raise ValueError(
            f"{factory.__name__} has no docstring; add a summary, a formula, the source and the "
            "deviations"
        )
    free_text, sections = _split_sections(text)
    summary, *notes = [_join_lines(paragraph) for paragraph in re.split(r"\n\s*\n", free_text)]
    return Docstring(
        summary=summary,
        notes=tuple(notes),
        formula=tuple(sections["Formula"].splitlines()),
        arguments=MappingProxyType(_parse_entries(sections["Args"])),
        returns=_join_lines(sections["Returns"]),
        raises=MappingProxyType(_parse_entries(sections["Raises"])),
        example=tuple(sections["Example"].splitlines()),
        source=_join_lines(sections["Source"]),
        deviations=_join_lines(sections["Deviations"]),
    )


def _split_sections(text: str) -> tuple[str, dict[str, str]]:
    """Return the text before the sections, and the dedented text of each section."""
    free_lines: list[str] = []
    section_lines: dict[str, list[str]] = {name: [] for name in SECTIONS}
    lines = free_lines
    for line in text.splitlines():
        if header := _HEADER.fullmatch(line):
            lines = section_lines[header[1]]
        else:
            lines.append(line)
    sections = {
        name: textwrap.dedent("\n".join(body)).strip("\n") for name, body in section_lines.items()
    }
    return "\n".join(free_lines).strip(), sections


def _parse_entries(section: str) -> dict[str, str]:
    """Parse entries `name: description`, whose continuation lines are indented."""
    descriptions = {}
    entries = re.split(r"\n(?=\S)", section) if section else []
    for entry in entries:
        name, _, description = entry.partition(":")
        descriptions[name] = _join_lines(description)
    return descriptions


def _join_lines(text: str) -> str:
    return " ".join(text.split())
