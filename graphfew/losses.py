"""Losses of an `Output` against the hidden targets `[Q]`."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.graph import Graph
from graphfew.model import Output

Loss = Callable[[Output, Tensor], Tensor]


def node_loss(out: Output, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Cross-entropy of the queries' logits, averaged over queries. Raises ValueError where their numbers differ."""
    _check_length(out, target)
    return F.cross_entropy(out.logits, target)


def edge_loss(out: Output, target: Int[Tensor, " Q"], early_weight: float = 0.5) -> Float[Tensor, ""]:
    """EGNN's loss: `Σ_l w_l (mean BCE over same-class edges + mean BCE over other edges)` of every layer's similarity.

    Counts edges between two nodes of known class (the targets make the queries' known) that have a query at an end.

    Args:
        out: the output of a method whose edges are `(similarity, dissimilarity)`.
        target: `[Q]` int64, the queries' classes.
        early_weight: weight of every layer but the last, whose weight is 1.

    Raises:
        ValueError: another number of targets than queries, or edges that are not two channels.

    Source: Kim, Kim, Kim, Yoo, 2019, Edge-Labeling Graph Neural Network for Few-shot Learning.

    Deviations: self-loops do not count (they are constant, and would only dilute the positive term); edges to
    unlabelled nodes do not count, since their classes are nobody's to know.
    """
    _check_length(out, target)
    layers = out.graphs[1:]
    if not layers or layers[-1].edges.shape[1] != 2:
        raise ValueError(f"edge_loss needs layers with edges [E, 2]; got {len(layers)} layers with "
                         f"{layers[-1].edges.shape[1] if layers else 0} channels; use node_loss for this method")
    positive, negative = _edge_targets(layers[-1], target)
    terms = [_balanced_bce(graph.edges[:, 0], positive, negative) for graph in layers]
    return sum((early_weight * term for term in terms[:-1]), start=terms[-1])


def _edge_targets(graph: Graph, target: Tensor) -> tuple[Tensor, Tensor]:
    episode, topology = graph.episode, graph.topology
    label = episode.y.masked_scatter(episode.query, target)
    a, b = label[topology.receivers], label[topology.senders]
    asked = episode.query[topology.receivers] | episode.query[topology.senders]
    counted = asked & (a >= 0) & (b >= 0) & ~topology.loops
    return counted & (a == b), counted & (a != b)


def _balanced_bce(similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    bce = F.binary_cross_entropy(similarity, positive.to(similarity.dtype), reduction="none")
    return sum((_masked_mean(bce, mask) for mask in (positive, negative)), start=bce.new_zeros(()))


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1)


def _check_length(out: Output, target: Tensor) -> None:
    if len(target) != len(out.logits):
        raise ValueError(f"{len(target)} targets for {len(out.logits)} queries; give one class index per query")
