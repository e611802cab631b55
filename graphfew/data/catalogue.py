"""The data sets that the library knows by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphfew.data.dataset import Dataset
from graphfew.data.digits import digits
from graphfew.data.fewrel import fewrel
from graphfew.data.glyphs import glyphs
from graphfew.data.omniglot import omniglot

catalogue: dict[str, Callable[..., Dataset]] = {
    "omniglot": omniglot, "glyphs": glyphs, "digits": digits, "fewrel": fewrel,
}


def load(name: str, **options: Any) -> Dataset:
    """The data set called `name`; options go to its loader.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in catalogue:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(catalogue)}")
    return catalogue[name](**options)
