"""The data sets of the suite: features and class indices."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets as sklearn_datasets

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features `x` `[n, F]` (float32 or float64) and class indices `y` `[n]` of a data set."""

    x: Array
    y: Array


Loader = Callable[[Path], FeatureSet]


def data_root(root: str | None) -> Path:
    """Return the folder of the data sets: `root`, or `GRAPHFEW_DATA`, or a folder without any."""
    return Path(root or os.environ.get("GRAPHFEW_DATA") or "data")


def load_dataset(name: str, root: Path) -> FeatureSet:
    """Load a data set.

    Raises:
        ValueError: the name is unknown.
        FileNotFoundError: the file is missing.
    """
    if name not in LOADERS:
        raise ValueError(f"unknown data set {name!r}; expected one of {', '.join(LOADERS)}")
    return LOADERS[name](root)


def _npz(root: Path, *, file: str, features: str = "x", labels: str = "y") -> FeatureSet:
    with np.load(root / file, allow_pickle=False) as content:
        _, y = np.unique(content[labels], return_inverse=True)
        return FeatureSet(content[features].astype(np.float32), y)


def _sklearn(root: Path, *, loader: Callable[..., tuple[Array, Array]]) -> FeatureSet:
    del root
    x, y = loader(return_X_y=True)
    return FeatureSet(x.astype(np.float64), y)


def _pool(name: str) -> Loader:
    return functools.partial(_npz, file=f"pools/{name}.npz")


# CIFAR-FS: the pooled activations as stored, of the validation and the test classes.
LOADERS: Mapping[str, Loader] = {
    "stackoverflow": _pool("stackoverflow_minilm"),
    "snips": _pool("snips_minilm"),
    "mnist": _pool("mnist_pixels"),
    "cifar100_superclasses": _pool("cifar100_super_efflite0"),
    "clinc150": functools.partial(_npz, file="clinc150/minilm_embeddings.npz"),
    "cifar_fs": functools.partial(
        _npz, file="cifar100/cifarfs_features.npz", features="features", labels="label"
    ),
    "digits": functools.partial(_sklearn, loader=sklearn_datasets.load_digits),
    "iris": functools.partial(_sklearn, loader=sklearn_datasets.load_iris),
    "wine": functools.partial(_sklearn, loader=sklearn_datasets.load_wine),
    "breast_cancer": functools.partial(_sklearn, loader=sklearn_datasets.load_breast_cancer),
}
