"""Docstrings as griffe reads them: "Attributes:" for "Shapes:", and names of one meaning each for itself."""

from __future__ import annotations

import re

_SHAPES = re.compile(r"^Shapes:$", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Attributes):\n(?:(?: {4}.*)?\n)*(?: {4}.*)?", re.MULTILINE)
_TOGETHER = re.compile(r"^ {4}(\w+(?:, \w+)+):((?:.*)(?:\n {5,}.*)*)", re.MULTILINE)


def plain(text: str) -> str:
    """A docstring with "Attributes:" for "Shapes:", and an entry of its own for each name."""
    return _SECTION.sub(
        lambda section: _TOGETHER.sub(_apart, section[0]), _SHAPES.sub("Attributes:", text)
    )


def _apart(found: re.Match[str]) -> str:
    return "\n".join(f"    {name}:{found[2]}" for name in found[1].split(", "))
