"""Uncertainty sampling: the items of which a classifier is least certain."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.labeling.active.labeling_state import Index, LabelingState

# From class probabilities `[N, C]` to `[N]`, higher for uncertain items.
Uncertainty = Callable[[Tensor], Tensor]


def smallest_margin(probs: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """Compute 1 minus the difference of the two largest class probabilities.

    Args:
        probs: class probabilities.

    Returns:
        `[N]`, from 0 to 1; 0 with a single class.

    Example:
        >>> import torch
        >>> smallest_margin(torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])).tolist()
        [1.0, 0.0]

    Source:
        Scheffer, Decomain, Wrobel, 2001, Active Hidden Markov Models for Information Extraction.

    Deviations:
        none.
    """
    if probs.shape[1] < 2:
        return torch.zeros_like(probs[:, 0])
    best = probs.topk(2, dim=1).values
    return 1 - (best[:, 0] - best[:, 1])


def entropy(probs: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """Compute the entropy of class probabilities in nats.

    Args:
        probs: class probabilities.

    Returns:
        `[N]`, at least 0.

    Example:
        >>> import torch
        >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).round(decimals=2).abs().tolist()
        [0.6899999976158142, 0.0]

    Source:
        Settles, 2009, Active Learning Literature Survey.

    Deviations:
        none.
    """
    total: Tensor = torch.special.entr(probs).sum(1)
    return total


def uncertain_items(
    state: LabelingState,
    n: int,
    rng: np.random.Generator,
    *,
    uncertainty: Uncertainty = smallest_margin,
) -> Index:
    """Suggest the items with the highest uncertainty; equal ones in random order.

    Without two labeled classes all items are equal.

    Args:
        state: items and labels.
        n: number of items.
        rng: breaks ties.
        uncertainty: from class probabilities `[N, C]` to `[N]`.

    Returns:
        Item indices, most uncertain first.

    Example:
        >>> import numpy as np, torch
        >>> from graphfew.labeling.active import build_item_graph, make_state
        >>> graph = build_item_graph(torch.tensor([[0.0], [0.1], [0.5], [0.9], [1.0]]))
        >>> state = make_state(graph, torch.tensor([0, -1, -1, -1, 1]))
        >>> uncertain_items(state, 1, np.random.default_rng(0))
        array([2])

    Source:
        Lewis, Gale, 1994, A Sequential Algorithm for Training Text Classifiers.

    Deviations:
        Near-duplicates are not suggested together. The classifier uses the unlabeled items.
    """
    candidates = state.candidates.numpy()
    candidates = rng.permutation(candidates)
    scores = uncertainty(state.probs)[candidates]
    order = scores.argsort(descending=True, stable=True)[:n].numpy()
    chosen: Index = candidates[order]
    return chosen


uncertain_items_by_entropy = functools.partial(uncertain_items, uncertainty=entropy)
