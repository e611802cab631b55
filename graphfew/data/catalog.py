"""The data sets that the library knows by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.cifar import cifar_fs, fc100
from graphfew.data.datasets.class_folders import class_folders
from graphfew.data.datasets.cub import cub
from graphfew.data.datasets.digits import digits
from graphfew.data.datasets.fewrel import fewrel
from graphfew.data.datasets.glyphs import glyphs
from graphfew.data.datasets.imagenet import mini_imagenet, tiered_imagenet
from graphfew.data.datasets.omniglot import omniglot
from graphfew.data.datasets.precomputed_features import cifar_fs_features, clinc150

DATASETS: dict[str, Callable[..., Dataset]] = {
    "omniglot": omniglot,
    "glyphs": glyphs,
    "digits": digits,
    "fewrel": fewrel,
    "cifar_fs": cifar_fs,
    "fc100": fc100,
    "cifar_fs_features": cifar_fs_features,
    "clinc150": clinc150,
    "mini_imagenet": mini_imagenet,
    "tiered_imagenet": tiered_imagenet,
    "cub": cub,
    "class_folders": class_folders,
}


def loader_arguments(name: str) -> dict[str, Any]:
    """The arguments of a data set's loader beside root, split and progress, with their defaults."""
    parameters = inspect.signature(DATASETS[name]).parameters
    return {
        key: p.default for key, p in parameters.items() if key not in ("root", "split", "progress")
    }


def load(name: str, **options: Any) -> Dataset:
    """The data set called `name`; options go to its loader.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name](**options)
