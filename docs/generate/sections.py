"""Convert docstrings to the form that griffe parses."""

from __future__ import annotations

import re

_SECTION = re.compile(r"^(?:Args|Attributes):\n(?:(?: {4}.*)?\n)*(?: {4}.*)?", re.MULTILINE)
_SHARED_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)+):((?:.*)(?:\n {5,}.*)*)", re.MULTILINE)


def split_shared_entries(text: str) -> str:
    """Give each name its own entry if several share one, as in `steps, lr: ...`."""
    return _SECTION.sub(lambda section: _SHARED_ENTRY.sub(_split, section[0]), text)


def _split(entry: re.Match[str]) -> str:
    lines = [f"    {name}:{entry[2]}" for name in entry[1].split(", ")]
    return "\n".join(lines)
