"""`holding`: modules with another value of an attribute, for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def patched_attributes(modules: Iterable[nn.Module], name: str, value: object) -> Iterator[None]:
    """Inside the block that attribute of every module is `value`; afterwards it is what it was."""
    before = [(module, getattr(module, name)) for module in modules]
    try:
        for module, _ in before:
            setattr(module, name, value)
        yield
    finally:
        for module, own in before:
            setattr(module, name, own)
