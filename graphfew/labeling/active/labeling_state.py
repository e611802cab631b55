"""`LabelingState`: the input of a strategy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import UNKNOWN
from graphfew.estimators.auto.ensemble import fit_ensemble
from graphfew.estimators.auto.weights import default_weights
from graphfew.labeling.active.item_graph import ItemGraph

Index = NDArray[np.int64]
# From items, class indices `[N]` (-1 if unlabeled) and the number of classes to probabilities
# `[N, C]`.
PredictClasses = Callable[[ItemGraph, Int[Tensor, " N"], int], Float[Tensor, "N C"]]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelingState:
    """Items, the labels so far, and the items that a strategy may suggest.

    Attributes:
        graph: the items.
        class_index: `[N]` class of each item; -1 if unlabeled.
        n_classes: number of classes that have a label.
        is_candidate: `[N]` the items that may be suggested: unlabeled, not excluded, one of each
            group of near-duplicates, and none whose group has a label.
        predict: returns the class probabilities; called at most once, and only with two classes or
            more.

    Example:
        >>> import torch
        >>> from graphfew.labeling.active import build_item_graph
        >>> graph = build_item_graph(torch.tensor([[0.0], [0.0], [5.0], [9.0]]))
        >>> make_state(graph, torch.tensor([0, -1, -1, -1])).candidates.tolist()
        [2, 3]
    """

    graph: ItemGraph
    class_index: Int[Tensor, " N"]
    n_classes: int
    is_candidate: Bool[Tensor, " N"]
    predict: PredictClasses

    @property
    def n_labeled(self) -> int:
        """Number of labeled items."""
        return int((self.class_index != UNKNOWN).sum())

    @property
    def candidates(self) -> Int[Tensor, " M"]:
        """`[M]` the items that may be suggested."""
        return torch.nonzero(self.is_candidate).flatten()

    @cached_property
    def probs(self) -> Float[Tensor, "N C"]:
        """`[N, C]` class probabilities of all items; ones with a single class, `C` is 1."""
        if self.n_classes < 2:
            return torch.ones(self.graph.n_items, 1, dtype=self.graph.x.dtype)
        return self.predict(self.graph, self.class_index, self.n_classes)


# Returns `min(n, number of candidates)` different candidates, best first.
Strategy = Callable[[LabelingState, int, np.random.Generator], Index]


def predict_by_ensemble(
    graph: ItemGraph, class_index: Int[Tensor, " N"], n_classes: int
) -> Float[Tensor, "N C"]:
    """Predict by `FewShotClassifier`'s default method.

    Args:
        graph: the items.
        class_index: `[N]`, -1 if unlabeled; every class has a label.
        n_classes: number of classes C.

    Returns:
        `[N, C]` class probabilities.

    Example:
        >>> import torch
        >>> from graphfew.labeling.active import build_item_graph
        >>> graph = build_item_graph(torch.tensor([[0.0], [0.1], [0.9], [1.0]]))
        >>> predict_by_ensemble(graph, torch.tensor([0, -1, -1, 1]), 2).argmax(1).tolist()
        [0, 0, 1, 1]
    """
    fit = fit_ensemble(graph.x, class_index, n_classes, default_weights(), graph.member_graph)
    return fit.logits.softmax(1)


def make_state(
    graph: ItemGraph,
    class_index: Int[Tensor, " N"],
    *,
    is_excluded: Bool[Tensor, " N"] | None = None,
    predict: PredictClasses = predict_by_ensemble,
) -> LabelingState:
    """Find the candidates among the unlabeled items.

    Args:
        graph: the items.
        class_index: `[N]` class of each item, from 0 without gaps; -1 if unlabeled.
        is_excluded: `[N]` items that must not be suggested; None excludes none.
        predict: returns the class probabilities.

    Returns:
        The state.

    Example:
        >>> import torch
        >>> from graphfew.labeling.active import build_item_graph
        >>> graph = build_item_graph(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> excluded = torch.tensor([True, False, False])
        >>> make_state(graph, torch.tensor([-1, -1, -1]), is_excluded=excluded).candidates.tolist()
        [1, 2]
    """
    is_labeled = class_index != UNKNOWN
    is_open = ~is_labeled
    if is_excluded is not None:
        is_open = is_open & ~is_excluded
    group = graph.duplicate_group
    has_label = torch.zeros(graph.n_items, dtype=torch.bool)
    has_label[group[is_labeled]] = True
    is_open = is_open & ~has_label[group]
    is_candidate = _most_typical_of_groups(graph.typicality, group, is_open)
    n_classes = int(class_index.max()) + 1
    return LabelingState(graph, class_index, n_classes, is_candidate, predict)


def _most_typical_of_groups(typicality: Tensor, group: Tensor, is_open: Tensor) -> Tensor:
    """Mark the open item of highest typicality in each group; the first one if several are equal."""
    items = torch.nonzero(is_open).flatten()
    by_typicality = items[typicality[items].argsort(descending=True, stable=True)]
    by_group = by_typicality[group[by_typicality].argsort(stable=True)]
    sorted_group = group[by_group]
    is_first = torch.ones(len(by_group), dtype=torch.bool)
    is_first[1:] = sorted_group[1:] != sorted_group[:-1]
    is_candidate = torch.zeros_like(is_open)
    is_candidate[by_group[is_first]] = True
    return is_candidate
