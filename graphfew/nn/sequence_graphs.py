"""Graphs of methods that read the supports of a task in order."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from graphfew.core.builders import from_edges, support_to_query_graph
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


def causal_graph(episode: Episode) -> Graph:
    """Connect each support to itself and all later ones, and all supports to every query.

    Queries have self-loops too.

    Args:
        episode: an encoded episode, `x [N, F]`.

    Returns:
        A graph with the episode's nodes `[N, F]` and edges `[E, 1]` equal to 1.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> from graphfew.nn.sequence_graphs import causal_graph
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3), y, query=y < 0, way=2)
        >>> topology = causal_graph(episode).topology
        >>> topology.senders.tolist(), topology.receivers.tolist()
        ([0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2])
    """
    support, task = _supports(episode)
    counts = torch.bincount(task, minlength=episode.n_tasks)
    # Support number `r` of its task receives from the supports 0 .. r.
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(support), device=task.device) - first[task]
    receiver = torch.repeat_interleave(rank + 1)
    n_edges = (rank + 1).cumsum(0) - (rank + 1)
    sender_rank = torch.arange(len(receiver), device=task.device) - n_edges[receiver]
    sender = first[task[receiver]] + sender_rank
    star = support_to_query_graph(episode)
    query = torch.nonzero(episode.query).flatten()
    senders = torch.cat([support[sender], star.senders, query])
    receivers = torch.cat([support[receiver], star.receivers, query])
    return _graph(episode, senders, receivers)


def _supports(episode: Episode) -> tuple[Int[Tensor, " S"], Int[Tensor, " S"]]:
    """Return the labeled supports in node order, and their tasks."""
    support = torch.nonzero(episode.labeled).flatten()
    return support, episode.task[support]


def _graph(episode: Episode, senders: Tensor, receivers: Tensor) -> Graph:
    topology = from_edges(senders, receivers, len(episode.y))
    edges = episode.x.new_ones(len(topology.receivers), 1)
    return Graph(episode.x, edges, topology, episode)
