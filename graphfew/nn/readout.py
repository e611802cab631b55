"""Readouts: from the last graph to `logits [Q, way]`, whose softmax is the prediction."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import valid_class_mask
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


def one_hot(episode: Episode, like: Tensor) -> Float[Tensor, "N way"]:
    """Labels as rows, `[N, max(way)]`; rows of unknown labels are zero. dtype as `like`."""
    return (
        F.one_hot(episode.y.clamp_min(0), max(episode.way)).to(like.dtype)
        * episode.labeled[:, None]
    )


def class_votes(graph: Graph) -> Float[Tensor, "Q way"]:
    """Each query's similarity to the labeled supports of each class, summed: `score_qc = Σ_{y_j = c} e_qj`.

    Reads channel 0 of the edges on a topology that has the episode's nodes alone. Unlabeled nodes have no vote.
    """
    labels = one_hot(graph.episode, graph.edges)
    return graph.topology.propagate(graph.edges[:, :1], labels)[graph.episode.query]


def log_class_votes(graph: Graph) -> Float[Tensor, "Q way"]:
    """The logarithm of `vote`, so that softmax gives each class its share of the votes; absent classes are `-inf`."""
    score = class_votes(graph)
    tiny = torch.finfo(score.dtype).tiny
    return score.clamp_min(tiny).log().masked_fill(~valid_class_mask(graph.episode), -torch.inf)


def class_node_logits(graph: Graph) -> Float[Tensor, "Q way"]:
    """Channel 0 of the edges from the class nodes of `stars` to each query; absent classes are `-inf`."""
    sender_class = class_of_node(graph)[graph.topology.senders]
    edge = torch.nonzero(sender_class >= 0).flatten()
    return _place(graph, edge, sender_class[edge])


def nearest_support_logits(graph: Graph) -> Float[Tensor, "Q way"]:
    """The largest channel-0 edge from a labeled support of each class to each query; absent classes are `-inf`."""
    episode, topology = graph.episode, graph.topology
    edge = torch.nonzero(
        episode.query[topology.receivers] & episode.labeled[topology.senders]
    ).flatten()
    return _place(graph, edge, episode.y[topology.senders[edge]])


def node_logits(graph: Graph) -> Float[Tensor, "Q way"]:
    """The query nodes themselves, whose features are logits."""
    return graph.nodes[: len(graph.episode.y)][graph.episode.query]


def class_of_node(graph: Graph) -> Tensor:
    """`[N + sum(way)]` int64: the class of each class node of `stars`, `-1` for the episode's own nodes."""
    way = torch.tensor(graph.episode.way, device=graph.episode.y.device)
    own = way.new_full((len(graph.episode.y),), -1)
    inside = torch.arange(sum(graph.episode.way), device=way.device)
    inside = inside - torch.repeat_interleave(way.cumsum(0) - way, way, output_size=len(inside))
    return torch.cat([own, inside])


def _place(graph: Graph, edge: Tensor, column: Tensor) -> Tensor:
    """Channel 0 of the chosen edges at `[query, column]`; of several on one place the largest, none leaves `-inf`."""
    episode = graph.episode
    rank = episode.query.cumsum(0) - 1
    width = max(episode.way)
    place = rank[graph.topology.receivers[edge]] * width + column
    out = graph.edges.new_full((sum(episode.n_queries) * width,), -torch.inf)
    return out.scatter_reduce(0, place, graph.edges[edge, 0], reduce="amax").view(-1, width)
