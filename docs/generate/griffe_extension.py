"""A griffe extension that converts docstrings before they are parsed."""

from __future__ import annotations

from typing import Any

import griffe

from docs.generate.sections import split_shared_entries


class SplitEntries(griffe.Extension):
    """Split docstring entries that document several names."""

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        """Convert the docstring of a class."""
        _rewrite(cls)

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Convert the docstring of a function."""
        _rewrite(func)


def _rewrite(found: griffe.Object) -> None:
    if found.docstring:
        found.docstring.value = split_shared_entries(found.docstring.value)
