"""The library's docstrings tell of a class's fields under "Shapes:", which are its attributes to griffe."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SHAPES = re.compile(r"^Shapes:$", re.MULTILINE)


class Shapes(griffe.Extension):
    """Reads "Shapes:" as "Attributes:" in the docstrings of classes."""

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called for each class that is read."""
        if cls.docstring:
            cls.docstring.value = _SHAPES.sub("Attributes:", cls.docstring.value)
