"""Strategies of scikit-activeml, an optional dependency: `pip install scikit-activeml`."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from graphfew.labeling import LabelingState, Strategy

PREFIX = "scikit-activeml "


def is_available() -> bool:
    """Return whether scikit-activeml is installed."""
    return importlib.util.find_spec("skactiveml") is not None


def external_items(
    state: LabelingState,
    n: int,
    rng: np.random.Generator,
    *,
    query: Callable[[int, Any, Any, Any, int], Any],
) -> NDArray[np.int64]:
    """Query a strategy of scikit-activeml on scaled features, with a logistic regression.

    Args:
        state: items and labels.
        n: number of items.
        rng: seeds the strategy.
        query: from seed, features, labels (NaN: unlabeled), classifier and number to items.

    Returns:
        Item indices.
    """
    from skactiveml.classifier import SklearnClassifier

    x = state.graph.features.double().numpy()
    y = np.where(state.class_index >= 0, state.class_index, np.nan).astype(float)
    seed = int(rng.integers(2**31))
    classes = list(range(max(state.n_classes, 2)))
    model = SklearnClassifier(LogisticRegression(max_iter=300), classes=classes, random_state=seed)
    with warnings.catch_warnings():
        # Before there are two classes, its classifier predicts at random, and it warns.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        chosen: NDArray[np.int64] = np.asarray(query(seed, x, y, model, n), dtype=np.int64)
    return chosen


def _margin(seed: int, x: Any, y: Any, model: Any, n: int) -> Any:
    from skactiveml.pool import UncertaintySampling

    strategy = UncertaintySampling(method="margin_sampling", random_state=seed)
    return strategy.query(x, y, model, batch_size=n)


def _typiclust(seed: int, x: Any, y: Any, model: Any, n: int) -> Any:
    del model
    from skactiveml.pool import TypiClust

    return TypiClust(random_state=seed).query(x, y, batch_size=n)


def _core_set(seed: int, x: Any, y: Any, model: Any, n: int) -> Any:
    del model
    from skactiveml.pool import CoreSet

    return CoreSet(random_state=seed).query(x, y, batch_size=n)


def _badge(seed: int, x: Any, y: Any, model: Any, n: int) -> Any:
    from skactiveml.pool import Badge

    return Badge(random_state=seed).query(x, y, model, batch_size=n)


STRATEGIES: Mapping[str, Strategy] = {
    f"{PREFIX}{name}": functools.partial(external_items, query=query)
    for name, query in {
        "margin": _margin,
        "TypiClust": _typiclust,
        "CoreSet": _core_set,
        "BADGE": _badge,
    }.items()
}
