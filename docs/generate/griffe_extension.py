"""What griffe does with the library's docstrings before it reads them."""

from __future__ import annotations

from typing import Any

import griffe

from docs.generate.sections import plain


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
