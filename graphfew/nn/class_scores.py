"""Graphs of methods whose encoder and classifier are adapted to the task together."""

from __future__ import annotations

import torch

from graphfew.core.builders import class_node_graph
from graphfew.core.dense_batch import valid_class_mask
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


def class_score_graph(episode: Episode) -> Graph:
    """Build a graph of items whose features are the class scores of an adapted network.

    Class `k` is the `k`-th unit vector of the space of class scores, so the edge from class `k` to a
    query is the inner product of both nodes, the query's score `k`.

    Args:
        episode: an episode with class scores `x [N, W]`, or `[N, W, T]` of T networks, with
            `W >= max(way)`; scores of classes that a task does not have are ignored.

    Returns:
        A graph with nodes `[N + sum(way), max(way)]`, class nodes last, and edges `[E, T]`: the
        scores of each network from class nodes to queries, and 1 from supports to their class.
        The nodes are the scores of the first network.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.class_scores import class_score_graph
        >>> y = torch.tensor([0, 1, -1])
        >>> scores = torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.0, 2.0]])
        >>> graph = class_score_graph(gf.Episode.single(scores, y, query=y < 0, way=2))
        >>> graph.edges[:, 0].tolist()
        [1.0, 2.0, 1.0, 1.0]
    """
    topology = class_node_graph(episode)
    max_way = max(episode.way)
    scores = episode.x if episode.x.ndim == 3 else episode.x[..., None]
    scores = scores[:, :max_way]
    # Edges are sorted by receiver, and queries come before class nodes.
    into_queries = scores[episode.query][valid_class_mask(episode)]
    n_others = len(topology.receivers) - len(into_queries)
    into_classes = scores.new_ones(n_others, scores.shape[2])
    units = torch.eye(max_way, dtype=scores.dtype, device=scores.device)
    class_nodes = torch.cat([units[:way] for way in episode.way])
    return Graph(
        nodes=torch.cat([scores[..., 0], class_nodes]),
        edges=torch.cat([into_queries, into_classes]),
        topology=topology,
        episode=episode,
    )
