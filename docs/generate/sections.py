"""Convert docstrings to the form that griffe parses."""

from __future__ import annotations

import re

_ENTRIES = re.compile(r"^(?:Args|Attributes):\n(?:(?: {4}.*)?\n)*(?: {4}.*)?", re.MULTILINE)
_SHARED_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)+):((?:.*)(?:\n {5,}.*)*)", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_FORMULA = re.compile(r"^Formula:\n((?: {4}.*\n|\n)* {4}.*)", re.MULTILINE)


def convert(text: str) -> str:
    """Convert a docstring of the package to the Google sections that griffe knows.

    griffe renders an `Example:` as prose, in which brackets are links, but an `Examples:` as code.
    It does not know `Formula:`, which becomes a code block.
    """
    text = _EXAMPLE.sub("Examples:", split_shared_entries(text))
    return _FORMULA.sub(r"Formula:\n    ```text\n\1\n    ```", text)


def split_shared_entries(text: str) -> str:
    """Give each name its own entry if several share one, as in `steps, lr: ...`."""
    return _ENTRIES.sub(lambda section: _SHARED_ENTRY.sub(_split, section[0]), text)


def _split(entry: re.Match[str]) -> str:
    lines = [f"    {name}:{entry[2]}" for name in entry[1].split(", ")]
    return "\n".join(lines)
