"""Graphs of methods that read the supports of a task in order."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from graphfew.core.builders import from_edges
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


def support_chain_graph(episode: Episode) -> Graph:
    """Connect each support to the next one in node order, and the last one to every query.

    Args:
        episode: an encoded episode, `x [N, F]`.

    Returns:
        A graph with the episode's nodes `[N, F]` and edges `[E, 1]` equal to 1.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> from graphfew.nn.sequence_graphs import support_chain_graph
        >>> y = torch.tensor([0, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.eye(4), y, query=y < 0, way=2)
        >>> topology = support_chain_graph(episode).topology
        >>> topology.senders.tolist(), topology.receivers.tolist()
        ([0, 1, 1], [1, 2, 3])
    """
    support, task = _supports(episode)
    is_next = task[1:] == task[:-1]
    is_last = torch.cat([~is_next, is_next.new_ones(1)])
    query = torch.nonzero(episode.query).flatten()
    # Every task has supports, so the last ones are in the order of the tasks.
    last = support[is_last][episode.task[query]]
    senders = torch.cat([support[:-1][is_next], last])
    receivers = torch.cat([support[1:][is_next], query])
    return _graph(episode, senders, receivers)


def _supports(episode: Episode) -> tuple[Int[Tensor, " S"], Int[Tensor, " S"]]:
    """Return the labeled supports in node order, and their tasks."""
    support = torch.nonzero(episode.labeled).flatten()
    return support, episode.task[support]


def _graph(episode: Episode, senders: Tensor, receivers: Tensor) -> Graph:
    topology = from_edges(senders, receivers, len(episode.y))
    edges = episode.x.new_ones(len(topology.receivers), 1)
    return Graph(episode.x, edges, topology, episode)
