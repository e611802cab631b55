"""How griffe is to read docstrings: a class's fields stand under "Shapes:", names of one meaning together."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SHAPES = re.compile(r"^Shapes:$", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Attributes):\n(?:(?: {4}.*)?\n)*(?: {4}.*)?", re.MULTILINE)
_TOGETHER = re.compile(r"^ {4}(\w+(?:, \w+)+):((?:.*)(?:\n {5,}.*)*)", re.MULTILINE)


def plain(text: str) -> str:
    """A docstring with "Attributes:" for "Shapes:", and an entry of its own for each name."""
    return _SECTION.sub(lambda section: _TOGETHER.sub(_apart, section[0]), _SHAPES.sub("Attributes:", text))


def _apart(found: re.Match[str]) -> str:
    return "\n".join(f"    {name}:{found[2]}" for name in found[1].split(", "))


class Shapes(griffe.Extension):
    """Rewrites docstrings as they are read."""

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called for each class that is read."""
        _rewrite(cls)

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Called for each function that is read."""
        _rewrite(func)


def _rewrite(found: griffe.Object) -> None:
    if found.docstring:
        found.docstring.value = plain(found.docstring.value)
