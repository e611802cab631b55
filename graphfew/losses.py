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
    Means are taken inside each task and then over tasks, so that a task of one query counts as much as one of many.

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
    weight, same = _edge_weights(layers[-1], target)
    terms = [_weighted_bce(graph.edges[:, 0], weight, same) for graph in layers]
    return sum((early_weight * term for term in terms[:-1]), start=terms[-1])


def pair_loss(out: Output, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of the last graph's edges, as logits of "same class", between supports and queries.

    Pairs of one class and pairs of two count alike, whatever their numbers: means are taken inside each kind and task.

    Raises:
        ValueError: another number of targets than queries, or edges that are not one channel.

    Source: Koch, Zemel, Salakhutdinov, 2015, Siamese Neural Networks for One-shot Image Recognition.

    Deviations: weighting takes the place of drawing as many pairs of each kind.
    """
    _check_length(out, target)
    graph = out.graphs[-1]
    if graph.edges.shape[1] != 1:
        raise ValueError(f"pair_loss needs edges [E, 1]; got {graph.edges.shape[1]} channels; use edge_loss or "
                         f"node_loss for this method")
    weight, same = _edge_weights(graph, target)
    terms = F.binary_cross_entropy_with_logits(graph.edges[:, 0], same, reduction="none")
    return (terms * weight).sum() / 2


def joint_loss(out: Output, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """`edge_loss + node_loss`: EGNN's loss, and the cross-entropy of its votes, which it learns faster with.

    Raises as both do. Source: none; EGNN's paper trains with the edge loss alone.
    """
    return edge_loss(out, target) + node_loss(out, target)


def _edge_weights(graph: Graph, target: Tensor) -> tuple[Tensor, Tensor]:
    """Each edge's share `[E]` of the mean over its kind in its task, over tasks; and whether it joins one class."""
    episode, topology = graph.episode, graph.topology
    label = episode.y.masked_scatter(episode.query, target)
    a, b = label[topology.receivers], label[topology.senders]
    asked = episode.query[topology.receivers] | episode.query[topology.senders]
    same = a == b
    counted = (asked & (a >= 0) & (b >= 0) & ~topology.loops).to(graph.edges.dtype)
    kind = 2 * episode.task[topology.receivers] + same
    count = counted.new_zeros(2 * episode.tasks).index_add(0, kind, counted)
    return counted / count.clamp_min(1)[kind] / episode.tasks, same.to(graph.edges.dtype)


def _weighted_bce(similarity: Tensor, weight: Tensor, same: Tensor) -> Tensor:
    return (F.binary_cross_entropy(similarity, same, reduction="none") * weight).sum()


def _check_length(out: Output, target: Tensor) -> None:
    if len(target) != len(out.logits):
        raise ValueError(f"{len(target)} targets for {len(out.logits)} queries; give one class index per query")
