"""A griffe extension that converts docstrings before they are parsed."""

from __future__ import annotations

from typing import Any

import griffe

from docs.generate.sections import convert


class ConvertDocstrings(griffe.Extension):
    """Convert the docstrings of classes and functions to griffe's sections."""

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        """Convert the docstring of a class."""
        _rewrite(cls)

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Convert the docstring of a function."""
        _rewrite(func)


def _rewrite(documented: griffe.Object) -> None:
    if documented.docstring:
        documented.docstring.value = convert(documented.docstring.value)
