"""Baselines that users would take: nearest mean, scikit-learn, and GraphLearning where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier

from benchmarks.unlabeled_sets.datasets import Array

NEIGHBORS = 10
# Features `[n, F]` and labels `[n]` (-1: unlabeled) to class probabilities `[n, C]` and membership
# scores `[n]`, higher for items of a labeled class than for outliers.
Baseline = Callable[[Array, Array], tuple[Array, Array]]


def squared_distances(x: Array, y: Array) -> Array:
    """Return the squared distances `[n, C]` of items to the means of the labeled items of each class."""
    classes = range(int(y.max()) + 1)
    means = np.stack([x[y == c].mean(0) for c in classes])
    distances = [((x - mean) ** 2).sum(1) for mean in means]
    return np.stack(distances, axis=1)


def nearest_mean(x: Array, y: Array) -> tuple[Array, Array]:
    """Nearest mean of the labeled items; the softmax's scale is the mean squared distance to it."""
    distances = squared_distances(x, y)
    nearest = distances.min(1)
    scale = max(float(nearest.mean()), np.finfo(np.float64).tiny)
    return softmax(-distances / scale, axis=1), -nearest


def logistic_regression(x: Array, y: Array) -> tuple[Array, Array]:
    """Logistic regression on the labeled items, features standardized over all items."""
    scaled = StandardScaler().fit_transform(x)
    labeled = y >= 0
    model = LogisticRegression(max_iter=1000).fit(scaled[labeled], y[labeled])
    return _with_confidence(model.predict_proba(scaled))


def self_training(x: Array, y: Array) -> tuple[Array, Array]:
    """scikit-learn's self-training of the logistic regression."""
    scaled = StandardScaler().fit_transform(x)
    model = SelfTrainingClassifier(LogisticRegression(max_iter=1000)).fit(scaled, y)
    return _with_confidence(model.predict_proba(scaled))


def label_spreading(x: Array, y: Array) -> tuple[Array, Array]:
    """scikit-learn's label spreading on the graph of ten nearest neighbors."""
    return _spread(LabelSpreading(kernel="knn", n_neighbors=_neighbors(x)), x, y)


def label_propagation(x: Array, y: Array) -> tuple[Array, Array]:
    """scikit-learn's label propagation on the graph of ten nearest neighbors."""
    return _spread(LabelPropagation(kernel="knn", n_neighbors=_neighbors(x)), x, y)


def graphlearning_poisson(x: Array, y: Array) -> tuple[Array, Array]:
    """GraphLearning's Poisson learning on its graph of ten nearest neighbors."""
    graphlearning: Any = importlib.import_module("graphlearning")
    weights = graphlearning.weightmatrix.knn(x, _neighbors(x))
    labeled = np.flatnonzero(y >= 0)
    scores = graphlearning.ssl.poisson(weights).fit(labeled, y[labeled])
    return _with_confidence(_normalize_rows(scores - scores.min(1, keepdims=True)))


def is_available(name: str) -> bool:
    """Return whether the optional dependency of a baseline is installed."""
    packages = OPTIONAL.get(name, ())
    return all(importlib.util.find_spec(package) is not None for package in packages)


def _neighbors(x: Array) -> int:
    return min(NEIGHBORS, len(x) - 1)


def _spread(model: Any, x: Array, y: Array) -> tuple[Array, Array]:
    with warnings.catch_warnings():
        # Both warn on sets with unreached items, whose rows are 0 or NaN.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        model.fit(x, y)
    return _with_confidence(_normalize_rows(np.nan_to_num(model.label_distributions_)))


def _normalize_rows(scores: Array) -> Array:
    """Divide rows by their sums; rows of zeros become uniform, whose argmax is class 0 as before."""
    total = scores.sum(1, keepdims=True)
    uniform = np.full_like(scores, 1 / scores.shape[1])
    normalized: Array = np.divide(scores, total, out=uniform, where=total > 0)
    return normalized


def _with_confidence(probs: Array) -> tuple[Array, Array]:
    return probs, probs.max(1)


BASELINES: Mapping[str, Baseline] = {
    "nearest_mean": nearest_mean,
    "logistic_regression": logistic_regression,
    "self_training": self_training,
    "label_spreading": label_spreading,
    "label_propagation": label_propagation,
    "graphlearning_poisson": graphlearning_poisson,
}
# Packages that are not dependencies of this library, by the baseline that needs them.
# GraphLearning searches neighbors with annoy, which it does not install.
OPTIONAL: Mapping[str, tuple[str, ...]] = {"graphlearning_poisson": ("graphlearning", "annoy")}
