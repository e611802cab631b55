"""Readouts: functions from the last graph to `logits [Q, way]`, whose softmax is the prediction."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import valid_class_mask
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


def one_hot(episode: Episode, like: Tensor) -> Float[Tensor, "N way"]:
    """One-hot encode the labels.

    Args:
        episode: any episode.
        like: a tensor with the dtype of the result.

    Returns:
        `[N, max(way)]`; the rows of queries and unlabeled nodes are zero.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.readout import one_hot
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.zeros(3, 2), y, query=y < 0, way=2)
        >>> one_hot(episode, episode.x).tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    # `F.one_hot` rejects the label -1; the product makes these rows zero again.
    labels = F.one_hot(episode.y.clamp_min(0), max(episode.way))
    return labels.to(like.dtype) * episode.labeled[:, None]


def class_votes(graph: Graph) -> Float[Tensor, "Q way"]:
    """Sum each query's edges to the labeled supports of each class.

    Formula:
        score_qk = Σ_{y_j = k} e_qj

    Args:
        graph: a graph over the episode's items, without class nodes; channel 0 of the edges is
            read. Unlabeled nodes have no vote.

    Returns:
        `[Q, max(way)]`.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.zeros(3, 2), y, query=y < 0, way=2)
        >>> topology = gf.complete_graph(episode.sizes)
        >>> edges = torch.arange(9.0)[:, None]
        >>> gf.nn.class_votes(gf.Graph(episode.x, edges, topology, episode)).tolist()
        [[6.0, 7.0]]
    """
    labels = one_hot(graph.episode, graph.edges)
    return graph.topology.propagate(graph.edges[:, :1], labels)[graph.episode.query]


def log_class_votes(graph: Graph) -> Float[Tensor, "Q way"]:
    """Take the logarithm of `class_votes`, so that softmax gives proportions of the votes.

    Args:
        graph: a graph over the episode's items, without class nodes; channel 0 of the edges is
            read and must not be negative.

    Returns:
        `[Q, max(way)]`; `-inf` for classes that a query's task does not have.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.zeros(3, 2), y, query=y < 0, way=2)
        >>> topology = gf.complete_graph(episode.sizes)
        >>> edges = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 3, 0]]).T.float()
        >>> gf.nn.log_class_votes(gf.Graph(episode.x, edges, topology, episode)).softmax(1)
        tensor([[0.2500, 0.7500]])
    """
    votes = class_votes(graph)
    # A class without votes has a finite logit, because the gradient of log(0) is not; -inf is
    # for classes that the task lacks.
    tiny = torch.finfo(votes.dtype).tiny
    return votes.clamp_min(tiny).log().masked_fill(~valid_class_mask(graph.episode), -torch.inf)


def class_node_logits(graph: Graph) -> Float[Tensor, "Q way"]:
    """Read the edges from class nodes to queries.

    Args:
        graph: a graph of `class_node_graph`, such as `class_mean_graph` builds; channel 0 of the
            edges is read.

    Returns:
        `[Q, max(way)]`; `-inf` for classes that a query's task does not have.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[0.0], [3.0], [1.0]])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> graph = gf.nn.ScaledMetric(gf.squared_euclidean)(gf.nn.class_mean_graph(episode))
        >>> gf.nn.class_node_logits(graph).tolist()
        [[-1.0, -4.0]]
    """
    layout = graph.topology.class_layout
    if layout is not None and layout.common_way is not None:
        # Edges to queries come first, sorted by query and class.
        return graph.edges[: layout.n_query_edges, 0].view(-1, layout.common_way)
    sender_class = class_of_node(graph)[graph.topology.senders]
    selected = torch.nonzero(sender_class >= 0).flatten()
    return _max_per_query_and_class(graph, selected, sender_class[selected])


def nearest_support_logits(graph: Graph) -> Float[Tensor, "Q way"]:
    """Take the largest edge from the labeled supports of each class to each query.

    Args:
        graph: a graph with edges from supports to queries; channel 0 of the edges is read.

    Returns:
        `[Q, max(way)]`; `-inf` for classes that a query's task does not have.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 0, 1, -1])
        >>> x = torch.tensor([[0.0], [2.0], [5.0], [3.0]])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> graph = gf.nn.ScaledMetric(gf.squared_euclidean)(gf.nn.support_query_graph(episode))
        >>> gf.nn.nearest_support_logits(graph).tolist()
        [[-1.0, -4.0]]
    """
    episode, topology = graph.episode, graph.topology
    is_selected = episode.query[topology.receivers] & episode.labeled[topology.senders]
    selected = torch.nonzero(is_selected).flatten()
    return _max_per_query_and_class(graph, selected, episode.y[topology.senders[selected]])


def node_logits(graph: Graph) -> Float[Tensor, "Q way"]:
    """Return the queries' node features, for a last layer whose features are class scores.

    Args:
        graph: a graph with nodes `[N, max(way)]`.

    Returns:
        `[Q, max(way)]`.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3, 2), y, query=y < 0, way=2)
        >>> topology = gf.complete_graph(episode.sizes)
        >>> graph = gf.Graph(episode.x, torch.zeros(9, 1), topology, episode)
        >>> gf.nn.node_logits(graph).tolist()
        [[0.0, 0.0]]
    """
    # Class nodes, if any, come after the items.
    return graph.nodes[: len(graph.episode.y)][graph.episode.query]


def class_of_node(graph: Graph) -> Int[Tensor, " M"]:
    """Return the class index of each class node.

    Args:
        graph: a graph of `class_node_graph`.

    Returns:
        `[N + sum(way)]` int64; `-1` for the episode's items.
    """
    episode = graph.episode
    way = torch.tensor(episode.way, device=episode.y.device)
    items = way.new_full((len(episode.y),), -1)
    class_nodes = torch.arange(sum(episode.way), device=way.device)
    first_of_task = way.cumsum(0) - way
    # Without `output_size`, a GPU would be synchronized to compute it.
    offsets = torch.repeat_interleave(first_of_task, way, output_size=len(class_nodes))
    return torch.cat([items, class_nodes - offsets])


def _max_per_query_and_class(graph: Graph, edge: Tensor, edge_class: Tensor) -> Tensor:
    """Scatter channel 0 of the selected edges to `[Q, max(way)]`, with their maximum."""
    episode = graph.episode
    # The row of each query in the logits.
    query_rank = episode.query.cumsum(0) - 1
    width = max(episode.way)
    index = query_rank[graph.topology.receivers[edge]] * width + edge_class
    # A class without an edge keeps -inf, hence probability 0.
    logits = graph.edges.new_full((sum(episode.n_queries) * width,), -torch.inf)
    logits = logits.scatter_reduce(0, index, graph.edges[edge, 0], reduce="amax")
    return logits.view(-1, width)
