"""Temporary changes of module attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def patched_attributes(modules: Iterable[nn.Module], name: str, value: object) -> Iterator[None]:
    """Set an attribute of all modules inside the block, and restore it afterwards."""
    old_values = [(module, getattr(module, name)) for module in modules]
    try:
        for module, _ in old_values:
            setattr(module, name, value)
        yield
    finally:
        for module, old_value in old_values:
            setattr(module, name, old_value)
