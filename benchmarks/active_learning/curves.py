"""The accuracy curve of a strategy: a simulated oracle labels what the strategy suggests."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import torch
from torch import Tensor

from benchmarks.active_learning.plan import MAX_SHOTS
from benchmarks.unlabeled_sets.datasets import Array
from benchmarks.unlabeled_sets.weights import weights_without
from graphfew.estimators import fit_ensemble
from graphfew.labeling import (
    ItemGraph,
    Strategy,
    build_item_graph,
    make_state,
)

DIGITS = 5


@dataclasses.dataclass(frozen=True)
class Curve:
    """Results of a strategy at 1 to 10 labels per class.

    Attributes:
        accuracy: on the unlabeled rest, with `FewShotClassifier`'s default method.
        classes_found: share of the classes that have a label.
        seconds: of the strategy, over all rounds.
    """

    accuracy: tuple[float, ...]
    classes_found: tuple[float, ...]
    seconds: float


def measure_curve(x: Array, target: Array, dataset: str, draw: int, strategy: Strategy) -> Curve:
    """Label as many items as there are classes, fit, and repeat.

    Args:
        x: `[n, F]` features.
        target: `[n]` classes, which the strategy does not see.
        dataset: name of the data set; the weights of the classifier are fitted without it.
        draw: number of the draw, which seeds the strategy.
        strategy: chooses the items.

    Returns:
        The results. Items of classes without a label count as errors.
    """
    graph, truth = build_item_graph(torch.from_numpy(x)), torch.from_numpy(target)
    n_classes = int(truth.max()) + 1
    predict = _Predictions(dataset)
    rng = np.random.default_rng([draw, 1])
    is_labeled = torch.zeros(len(truth), dtype=torch.bool)
    accuracy, found, seconds = [], [], 0.0
    for _ in range(MAX_SHOTS):
        classes, class_index = _labels_so_far(truth, is_labeled)
        state = make_state(graph, class_index, predict=predict)
        begin = time.perf_counter()
        chosen = np.asarray(strategy(state, n_classes, rng))
        seconds += time.perf_counter() - begin
        if is_labeled[chosen].any() or len(set(chosen.tolist())) < n_classes:
            raise ValueError(f"the strategy chose {chosen.tolist()}: not {n_classes} open items")
        is_labeled[chosen] = True
        classes, class_index = _labels_so_far(truth, is_labeled)
        predicted = torch.zeros(len(truth), dtype=torch.int64)
        if len(classes) > 1:
            predicted = predict(graph, class_index, len(classes)).argmax(1)
        correct = classes[predicted] == truth
        accuracy.append(round(float(correct[~is_labeled].double().mean()), DIGITS))
        found.append(round(len(classes) / n_classes, DIGITS))
    return Curve(tuple(accuracy), tuple(found), round(seconds, 3))


class _Predictions:
    """The default method, whose last fit serves both the measurement and the next choice."""

    def __init__(self, dataset: str) -> None:
        self.weights = weights_without(dataset)
        self.class_index: Tensor | None = None
        self.probs: Tensor | None = None

    def __call__(self, graph: ItemGraph, class_index: Tensor, n_classes: int) -> Tensor:
        if self.class_index is None or not torch.equal(class_index, self.class_index):
            fit = fit_ensemble(graph.x, class_index, n_classes, self.weights, graph.member_graph)
            self.class_index, self.probs = class_index, fit.logits.softmax(1)
        assert self.probs is not None
        return self.probs


def _labels_so_far(truth: Tensor, is_labeled: Tensor) -> tuple[Tensor, Tensor]:
    """The classes that have a label, and the number of each item's class among them, or -1."""
    class_index = torch.full_like(truth, -1)
    classes, class_index[is_labeled] = torch.unique(truth[is_labeled], return_inverse=True)
    return classes, class_index
