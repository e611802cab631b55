"""The data sets that the library knows by name, and their splits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.cifar import CIFAR_SPLITS, cifar_fs, fc100
from graphfew.data.datasets.class_folders import CLASS_FOLDERS_SPLITS, class_folders
from graphfew.data.datasets.cub import CUB_SPLITS, cub
from graphfew.data.datasets.digits import DIGITS_SPLITS, digits
from graphfew.data.datasets.fewrel import FEWREL_SPLITS, fewrel
from graphfew.data.datasets.glyphs import GLYPHS_SPLITS, glyphs
from graphfew.data.datasets.imagenet import IMAGENET_SPLITS, mini_imagenet, tiered_imagenet
from graphfew.data.datasets.omniglot import OMNIGLOT_SPLITS, omniglot
from graphfew.data.datasets.omniglot_runs import OMNIGLOT_RUNS_SPLITS, omniglot_runs
from graphfew.data.datasets.precomputed_features import (
    CIFAR_FS_FEATURES_SPLITS,
    CLINC150_SPLITS,
    cifar_fs_features,
    clinc150,
)
from graphfew.data.splits import Splits
from graphfew.errors import InvalidInputError

DATASETS: dict[str, Callable[..., Dataset]] = {
    "omniglot": omniglot,
    "omniglot_runs": omniglot_runs,
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
SPLITS: Mapping[str, Splits] = {
    "omniglot": OMNIGLOT_SPLITS,
    "omniglot_runs": OMNIGLOT_RUNS_SPLITS,
    "glyphs": GLYPHS_SPLITS,
    "digits": DIGITS_SPLITS,
    "fewrel": FEWREL_SPLITS,
    "cifar_fs": CIFAR_SPLITS,
    "fc100": CIFAR_SPLITS,
    "cifar_fs_features": CIFAR_FS_FEATURES_SPLITS,
    "clinc150": CLINC150_SPLITS,
    "mini_imagenet": IMAGENET_SPLITS,
    "tiered_imagenet": IMAGENET_SPLITS,
    "cub": CUB_SPLITS,
    "class_folders": CLASS_FOLDERS_SPLITS,
}
# Splits that results are reported on, of any data set.
TEST_SPLITS = tuple(dict.fromkeys(name for splits in SPLITS.values() for name in splits.test))
# Arguments of loaders that say where the data is and how it is shown, not what it is.
_COMMON_ARGUMENTS = ("root", "split", "progress")


def loader_arguments(name: str) -> dict[str, Any]:
    """Return the specific arguments of a loader (not root, split or progress) with defaults.

    Example:
        >>> loader_arguments("digits")
        {'size': 28}
    """
    # Read from the signature, so that a new option of a loader needs no entry here.
    parameters = inspect.signature(DATASETS[name]).parameters
    return {
        key: parameter.default
        for key, parameter in parameters.items()
        if key not in _COMMON_ARGUMENTS
    }


def load(name: str, **options: Any) -> Dataset:
    """Load a data set by name.

    Args:
        name: a key of `DATASETS`.
        **options: arguments of its loader.

    Returns:
        The data set.

    Raises:
        InvalidInputError: an unknown name; the message lists the known ones.

    Example:
        >>> load("digits", size=8)
        Dataset('digits', split='all', 10 classes, 1797 items of shape [1, 8, 8] uint8)
    """
    if name not in DATASETS:
        raise InvalidInputError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name](**options)
