"""The data sets that the library knows by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphfew.data.cifar import cifar_fs, fc100
from graphfew.data.class_folders import class_folders
from graphfew.data.cub import cub
from graphfew.data.dataset import Dataset
from graphfew.data.digits import digits
from graphfew.data.features import cifar_fs_features, clinc150
from graphfew.data.fewrel import fewrel
from graphfew.data.glyphs import glyphs
from graphfew.data.imagenet import mini_imagenet, tiered_imagenet
from graphfew.data.omniglot import omniglot

catalogue: dict[str, Callable[..., Dataset]] = {
    "omniglot": omniglot, "glyphs": glyphs, "digits": digits, "fewrel": fewrel,
    "cifar_fs": cifar_fs, "fc100": fc100, "cifar_fs_features": cifar_fs_features, "clinc150": clinc150,
    "mini_imagenet": mini_imagenet, "tiered_imagenet": tiered_imagenet, "cub": cub, "class_folders": class_folders,
}


def loader_arguments(name: str) -> dict[str, Any]:
    """The arguments of a data set's loader beside root, split and progress, with their defaults."""
    parameters = inspect.signature(catalogue[name]).parameters
    return {key: p.default for key, p in parameters.items() if key not in ("root", "split", "progress")}


def load(name: str, **options: Any) -> Dataset:
    """The data set called `name`; options go to its loader.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in catalogue:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(catalogue)}")
    return catalogue[name](**options)
