"""What is measured: data sets, draws, budgets and strategies."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping

import numpy as np

from benchmarks.active_learning import external
from benchmarks.unlabeled_sets.datasets import Array, FeatureSet
from graphfew.labeling import (
    STRATEGIES,
    Strategy,
    recommended_items,
    typical_items,
    uncertain_items,
)

SEED = 0
DRAWS = 2
MAX_ITEMS = 1000
MAX_CLASSES = 15
MAX_SHOTS = 10
DATASETS = (
    "stackoverflow",
    "snips",
    "mnist",
    "cifar100_superclasses",
    "clinc150",
    "cifar_fs",
    "digits",
    "iris",
    "wine",
    "breast_cancer",
)
RANDOM, RECOMMENDED = "random", "recommended"
# Among these, the default was chosen; the choice without a data set is measured on that data set.
CANDIDATES: Mapping[str, Strategy] = {
    RECOMMENDED: recommended_items,
    "typical, then mc-vopt from 1 label per class": functools.partial(
        recommended_items, min_shots=1
    ),
    "typical, then margin": functools.partial(recommended_items, later=uncertain_items),
    "typical": typical_items,
}
CHOSEN: Mapping[str, Strategy] = {
    RANDOM: STRATEGIES[RANDOM],
    **CANDIDATES,
    **external.STRATEGIES,
    **{
        name: STRATEGIES[name]
        for name in ("coverage", "margin", "vopt", "sigma-optimality", "model-change", "mc-vopt")
    },
}


def sample_items(data: FeatureSet, dataset: str, draw: int) -> tuple[Array, Array]:
    """Sample items of some classes.

    Args:
        data: the data set.
        dataset: its name.
        draw: number of the draw; the result depends on it, the name and `SEED` only.

    Returns:
        Features `[n, F]`, and classes `[n]` from 0, numbered at random.
    """
    rng = np.random.default_rng([SEED, draw, zlib.crc32(dataset.encode())])
    classes = rng.permutation(int(data.y.max()) + 1)[:MAX_CLASSES]
    rows = rng.permutation(np.flatnonzero(np.isin(data.y, classes)))[:MAX_ITEMS]
    number = np.full(int(data.y.max()) + 1, -1)
    number[classes] = np.arange(len(classes))
    return data.x[rows], number[data.y[rows]]
