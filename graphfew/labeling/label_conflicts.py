"""Given labels that contradict the neighbors of their items: possible label errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from graphfew.labeling.active.item_graph import ItemGraph
from graphfew.propagation.solvers import spread_labels

Array = NDArray[np.int64]
ALPHA = 0.9
# Below that, several classes are as likely as the other one, and the features decide nothing.
MIN_SHARE = 0.5
# Labels that are left out: each one takes a solution of the graph's equations.
MAX_CHECKED = 2000
_PER_SOLVE = 256


@dataclasses.dataclass(frozen=True, eq=False)
class LabelConflicts:
    """Labeled items whose neighbors have another class.

    Attributes:
        items: `[k]` the items, the strongest contradiction first.
        other_class: `[k]` the class of their neighbors.
        other_prob: `[k]` its share in the scores of all classes.
        n_checked: number of labels that were compared with the others.

    Example:
        >>> conflicts = LabelConflicts(np.array([2]), np.array([0]), np.array([0.9]), 8)
        >>> len(conflicts.items), conflicts.n_checked
        (1, 8)
    """

    items: Array
    other_class: Array
    other_prob: NDArray[np.float64]
    n_checked: int


@torch.no_grad()
def find_label_conflicts(
    graph: ItemGraph, class_index: Int[Tensor, " N"], seed: int = 0
) -> LabelConflicts:
    """Find labels that the other labels contradict.

    Labels are spread over the graph of nearest neighbors. For each labeled item, the scores without
    its own label are exact: the equations are linear, so its contribution is subtracted. An item
    contradicts its neighbors if another class has more than half of the scores. Classes with a single label are
    not checked, because without it nothing is known of them.

    Args:
        graph: the items.
        class_index: `[N]` class of each item; -1 if unlabeled.
        seed: chooses the labels to check if there are more than `MAX_CHECKED`.

    Returns:
        The items.

    Example:
        >>> from graphfew.labeling.active.item_graph import build_item_graph
        >>> x = torch.tensor([[0.0], [0.1], [0.2], [0.3], [5.0], [5.1], [5.2], [5.3]])
        >>> y = torch.tensor([0, 0, 1, 0, 1, 1, 1, 1])
        >>> find_label_conflicts(build_item_graph(x), y).items
        array([2])

    Source:
        Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, Learning with Local and Global Consistency
        (the scores).

    Deviations:
        each class is weighted by the inverse of its number of labels.
    """
    is_labeled = class_index >= 0
    n_classes = int(class_index.max()) + 1
    counts = torch.bincount(class_index[is_labeled], minlength=n_classes)
    checked = torch.nonzero(is_labeled).flatten()
    checked = checked[counts[class_index[checked]] > 1]
    if len(checked) > MAX_CHECKED:
        generator = torch.Generator().manual_seed(seed)
        checked = checked[torch.randperm(len(checked), generator=generator)[:MAX_CHECKED]]
    one_hot = F.one_hot(class_index.clamp_min(0), n_classes).to(graph.weights.dtype)
    one_hot[~is_labeled] = 0
    scores = spread_labels(graph.topology, graph.weights, one_hot, ALPHA)[checked]
    own_class = class_index[checked]
    rows = torch.arange(len(checked))
    scores[rows, own_class] -= _own_scores(graph, checked)
    others = counts.expand(len(checked), -1).clone()
    others[rows, own_class] -= 1
    # Rounding may leave a small negative rest.
    probs = F.normalize(scores.clamp_min(0) / others, p=1, dim=1)
    other_prob, other_class = probs.max(1)
    is_conflict = (other_class != own_class) & (other_prob > MIN_SHARE)
    strength = torch.where(is_conflict, other_prob, -1.0)
    order = strength.argsort(descending=True, stable=True)[: int(is_conflict.sum())]
    return LabelConflicts(
        checked[order].numpy(),
        other_class[order].numpy(),
        other_prob[order].double().numpy(),
        len(checked),
    )


def _own_scores(graph: ItemGraph, items: Tensor) -> Tensor:
    """`[k]` score that a label gives to its own item."""
    own = torch.empty(len(items), dtype=graph.weights.dtype)
    for start in range(0, len(items), _PER_SOLVE):
        batch = items[start : start + _PER_SOLVE]
        columns = torch.arange(len(batch))
        label = graph.weights.new_zeros(graph.n_items, len(batch))
        label[batch, columns] = 1
        spread = spread_labels(graph.topology, graph.weights, label, ALPHA)
        own[start : start + _PER_SOLVE] = spread[batch, columns]
    return own
