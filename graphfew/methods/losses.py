"""Losses of an `Output` against the hidden targets `[Q]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.graph import Graph
from graphfew.nn.method import MethodOutput
from graphfew.nn.readout import one_hot

Loss = Callable[[MethodOutput, Tensor], Tensor]


def node_loss(
    out: MethodOutput, target: Int[Tensor, " Q"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Cross-entropy of the queries' logits, averaged over queries.

    Args:
        out: the output of any method.
        target: `[Q]` int64, the queries' classes.
        smoothing: share of each target that is spread evenly over the classes of its task.

    Raises:
        ValueError: another number of targets than queries, or a smoothing outside `[0, 1)`.

    Source: the smoothing: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, 2016, Rethinking the Inception Architecture.

    Deviations: none.
    """
    _check_length(out, target)
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}; it must be at least 0 and below 1")
    loss = F.cross_entropy(out.logits, target)
    if smoothing == 0:
        return loss
    own = torch.isfinite(out.logits)
    logs = torch.where(own, out.logits, 0.0) - out.logits.logsumexp(1, keepdim=True)
    even = -(logs * own).sum(1) / own.sum(1)
    return (1 - smoothing) * loss + smoothing * even.mean()


def labeled_node_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Cross-entropy of the last graph's nodes as logits, averaged over all nodes of known class: queries and supports.

    Raises:
        ValueError: another number of targets than queries, or nodes that are no logits.

    Source: Liu, Lee, Park, Kim, Kim, Yang, 2019, Learning to Propagate Labels.

    Deviations: none.
    """
    _check_length(out, target)
    graph = out.graphs[-1]
    if graph.nodes.shape != (len(graph.episode.y), out.logits.shape[1]):
        raise ValueError(
            f"known_nodes_loss needs a logit per class on every node, "
            f"[{len(graph.episode.y)}, {out.logits.shape[1]}]; got nodes {tuple(graph.nodes.shape)}; "
            f"use node_loss for this method"
        )
    label = graph.episode.y.masked_scatter(graph.episode.query, target)
    known = label >= 0
    return F.cross_entropy(graph.nodes[known], label[known])


def relation_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Mean squared error of the logits' sigmoid to 1 for the query's class and 0 for the others of its task.

    Raises:
        ValueError: another number of targets than queries.

    Source: Sung, Yang, Zhang, Xiang, Torr, Hospedales, 2018, Learning to Compare: Relation Network for Few-Shot
    Learning.

    Deviations: none.
    """
    _check_length(out, target)
    own = torch.isfinite(out.logits)
    same = F.one_hot(target, out.logits.shape[1]).to(out.logits.dtype)
    return F.mse_loss(out.logits[own].sigmoid(), same[own])


def edge_loss(
    out: MethodOutput, target: Int[Tensor, " Q"], early_weight: float = 0.5
) -> Float[Tensor, ""]:
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
    unlabeled nodes do not count, since their classes are nobody's to know.
    """
    _check_length(out, target)
    layers = out.graphs[1:]
    if not layers or layers[-1].edges.shape[1] != 2:
        raise ValueError(
            f"edge_loss needs layers with edges [E, 2]; got {len(layers)} layers with "
            f"{layers[-1].edges.shape[1] if layers else 0} channels; use node_loss for this method"
        )
    weight, same = _edge_weights(layers[-1], target)
    terms = [_weighted_bce(graph.edges[:, 0], weight, same) for graph in layers]
    return sum((early_weight * term for term in terms[:-1]), start=terms[-1])


def pair_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
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
        raise ValueError(
            f"pair_loss needs edges [E, 1]; got {graph.edges.shape[1]} channels; use edge_loss or "
            f"node_loss for this method"
        )
    weight, same = _edge_weights(graph, target)
    terms = F.binary_cross_entropy_with_logits(
        graph.edges[:, 0].to(same.dtype), same, reduction="none"
    )
    return (terms * weight).sum() / 2


def dpgn_loss(
    out: MethodOutput, target: Int[Tensor, " Q"], early_weight: float = 0.2
) -> Float[Tensor, ""]:
    """DPGN's loss over its rounds: BCE of point edges, + 0.1 BCE of distribution edges, + 0.1 cross-entropy of votes.

    Counts edges from supports to queries; positive and negative ones alike. The votes of a round are the softmax over
    classes of minus the mean squared distance to their supports.

    Args:
        out: the output of `dpgn`.
        target: `[Q]` int64, the queries' classes.
        early_weight: weight of every round but the last, whose weight is 1.

    Raises:
        ValueError: another number of targets than queries, or edges that are not three channels.

    Source: Yang, Li, Zhang, Zhou, Zhou, Liu, 2020, DPGN: Distribution Propagation Graph Network for Few-Shot Learning.

    Deviations: edges between queries do not count: they begin at 0 and stay there, whatever the classes.
    """
    _check_length(out, target)
    rounds = out.graphs[2:]
    if not rounds or rounds[-1].edges.shape[1] != 3:
        raise ValueError(
            "dpgn_loss needs rounds with edges [E, 3], as dpgn has; use edge_loss or node_loss"
        )
    terms = [_round_loss(graph, target) for graph in rounds]
    return sum((early_weight * term for term in terms[:-1]), start=terms[-1])


def edge_node_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """`edge_loss + node_loss`: EGNN's loss, and the cross-entropy of its votes, which it learns faster with.

    Raises as both do. Source: none; EGNN's paper trains with the edge loss alone.
    """
    return edge_loss(out, target) + node_loss(out, target)


# The names that configurations and the command line use.
LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "node": node_loss,
        "edge": edge_loss,
        "joint": edge_node_loss,
        "pair": pair_loss,
        "relation": relation_loss,
        "known-nodes": labeled_node_loss,
        "dpgn": dpgn_loss,
    }
)


def _round_loss(graph: Graph, target: Tensor) -> Tensor:
    weight, same = _edge_weights(graph, target, supports_only=True)
    point, distribution = (
        _weighted_bce(graph.edges[:, channel], weight, same) for channel in (0, 1)
    )
    labels = one_hot(graph.episode, graph.edges)
    task = graph.episode.task[graph.episode.query]
    count = labels.new_zeros(graph.episode.n_tasks, labels.shape[1]).index_add(
        0, graph.episode.task, labels
    )
    votes = graph.topology.propagate(graph.edges[:, 2:], labels)[graph.episode.query] / count[
        task
    ].clamp_min(1)
    return (
        point
        + 0.1 * distribution
        + 0.1 * F.cross_entropy(votes.masked_fill(count[task] == 0, -torch.inf), target)
    )


def _edge_weights(
    graph: Graph, target: Tensor, *, supports_only: bool = False
) -> tuple[Tensor, Tensor]:
    """Each edge's share `[E]` of the mean over its kind in its task, over tasks; and whether it joins one class."""
    episode, topology = graph.episode, graph.topology
    label = episode.y.masked_scatter(episode.query, target)
    a, b = label[topology.receivers], label[topology.senders]
    asked = episode.query[topology.receivers] | episode.query[topology.senders]
    if supports_only:
        asked = episode.query[topology.receivers] & episode.labeled[topology.senders]
    same = a == b
    # bfloat16, which autocast makes of edges, cannot count beyond 256.
    precise = torch.promote_types(graph.edges.dtype, torch.float32)
    counted = (asked & (a >= 0) & (b >= 0) & ~topology.is_self_loop).to(precise)
    kind = 2 * episode.task[topology.receivers] + same
    count = counted.new_zeros(2 * episode.n_tasks).index_add(0, kind, counted)
    return counted / count.clamp_min(1)[kind] / episode.n_tasks, same.to(precise)


def _weighted_bce(similarity: Tensor, weight: Tensor, same: Tensor) -> Tensor:
    # On a GPU torch refuses it under autocast.
    with torch.autocast(similarity.device.type, enabled=False):
        terms = F.binary_cross_entropy(similarity.to(same.dtype), same, reduction="none")
    return (terms * weight).sum()


def _check_length(out: MethodOutput, target: Tensor) -> None:
    if len(target) != len(out.logits):
        raise ValueError(
            f"{len(target)} targets for {len(out.logits)} queries; give one class index per query"
        )
