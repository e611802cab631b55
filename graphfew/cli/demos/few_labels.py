"""First part of the demo: label an unlabeled set from one label per class."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.semi_supervised import LabelSpreading

from graphfew.cli.demos.stage_progress import Advance
from graphfew.data.dataset import Dataset
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.evaluation.statistics import t_interval

UNLABELED = -1
N_GLYPH_CLASSES = 20

Array = NDArray[Any]
# Takes features [n, F] and labels [n], -1 if unknown; returns a label for every item, [n].
LabelingMethod = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class LabelingTask:
    """A data set with one labeled item per class.

    Attributes:
        features: `[n, F]`.
        target: `[n]` the true labels.
        labels: `[n]` the labels that a method receives, -1 if unknown.
    """

    features: Array
    target: Array
    labels: Array


@dataclasses.dataclass(frozen=True)
class LabelingResult:
    """Accuracy of one method on the unlabeled items of one data set.

    Attributes:
        data: title of the data set.
        method: title of the method.
        accuracies: one per draw of the labeled items.
    """

    data: str
    method: str
    accuracies: tuple[float, ...]

    def interval(self) -> tuple[float, float]:
        """Mean and half width of the 95 % interval over draws."""
        return t_interval(self.accuracies)


def digit_tasks(n_draws: int, seed: int) -> Iterator[LabelingTask]:
    """scikit-learn's 1,797 digits as pixels in `[0, 1]`; each draw labels other items."""
    digits = load_digits()
    features = digits.data / 16
    for draw in range(n_draws):
        # A stream per draw: with more draws the earlier ones stay the same.
        rng = np.random.default_rng([seed, draw])
        yield LabelingTask(features, digits.target, _one_label_per_class(digits.target, rng))


def glyph_tasks(glyphs: Dataset, n_draws: int, seed: int) -> Iterator[LabelingTask]:
    """Encoded glyphs scaled to unit length; each draw takes other classes and labels other items."""
    features = glyphs.x.numpy()
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    target = glyphs.y.numpy()
    for draw in range(n_draws):
        rng = np.random.default_rng([seed, draw])
        classes = rng.choice(len(glyphs.classes), N_GLYPH_CLASSES, replace=False)
        # Class numbers keep their gaps: every method accepts arbitrary labels.
        mask = np.isin(target, classes)
        labels = _one_label_per_class(target[mask], rng)
        yield LabelingTask(features[mask], target[mask], labels)


def _one_label_per_class(target: Array, rng: np.random.Generator) -> Array:
    labels = np.full_like(target, UNLABELED)
    for label in np.unique(target):
        item = rng.choice(np.flatnonzero(target == label))
        labels[item] = label
    return labels


def labeling_methods() -> dict[str, LabelingMethod]:
    """The compared methods by title, each with the default arguments of its library."""
    return {
        "nearest class mean (labels only)": _labels_only(NearestCentroid),
        "scikit-learn: LogisticRegression (labels only)": _labels_only(LogisticRegression),
        "scikit-learn: LabelSpreading, kNN": _semi_supervised(lambda: LabelSpreading(kernel="knn")),
        "scikit-learn: LabelSpreading, RBF": _semi_supervised(LabelSpreading),
        "graphfew: FewShotClassifier()": _semi_supervised(FewShotClassifier),
        'graphfew: FewShotClassifier("label_propagation")': _semi_supervised(
            lambda: FewShotClassifier("label_propagation")
        ),
    }


def _labels_only(estimator: Callable[[], Any]) -> LabelingMethod:
    def label_items(features: Array, labels: Array) -> Array:
        # An inductive baseline: it never sees the unlabeled items before it labels them.
        labeled = labels != UNLABELED
        predicted: Array = estimator().fit(features[labeled], labels[labeled]).predict(features)
        return predicted

    return label_items


def _semi_supervised(estimator: Callable[[], Any]) -> LabelingMethod:
    def label_items(features: Array, labels: Array) -> Array:
        # `transduction_` is the attribute of scikit-learn's semi-supervised estimators.
        predicted: Array = estimator().fit(features, labels).transduction_
        return predicted

    return label_items


def compare_labeling(
    data: str, tasks: Iterator[LabelingTask], advance: Advance
) -> list[LabelingResult]:
    """Run every method on the same tasks."""
    methods = labeling_methods()
    accuracies: dict[str, list[float]] = {title: [] for title in methods}
    for task in tasks:
        # All methods get the same draw, so no difference is due to the choice of labeled items.
        for title, label_items in methods.items():
            accuracies[title].append(_accuracy(label_items, task))
        advance("")
    return [LabelingResult(data, title, tuple(values)) for title, values in accuracies.items()]


def _accuracy(label_items: LabelingMethod, task: LabelingTask) -> float:
    with warnings.catch_warnings():
        # One item per class has no variance, and a kNN graph need not reach every item: scikit-learn
        # warns of both, and neither is of interest here.
        warnings.simplefilter("ignore")
        predicted = label_items(task.features, task.labels)
    unlabeled = task.labels == UNLABELED
    return float((predicted[unlabeled] == task.target[unlabeled]).mean())
