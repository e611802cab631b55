"""Builders of topologies: complete graphs of tasks, given edges, class nodes between supports and queries."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.core.graph import Topology
from graphfew.ops.centering import common_size
from graphfew.ops.ragged import ragged_matmul


def complete_graph(sizes: Sequence[int], device: torch.device | str = "cpu") -> Topology:
    """Every node of a task sends to every node of it, itself included; `sizes` are the nodes of each task."""
    return Topology(num_nodes=sum(sizes), device=torch.device(device), sizes=tuple(sizes))


def from_edges(senders: Tensor, receivers: Tensor, nodes: int) -> Topology:
    """Any given edges, `senders[k] -> receivers[k]`, each `[E]` int64 in any order, over `nodes` nodes; no loops added.

    Edges are put in order of receiver; edge values made elsewhere must follow `topology.senders` and `.receivers`.

    Raises:
        ValueError: lengths that differ, or an index outside `0 .. nodes-1`.
    """
    if len(senders) != len(receivers):
        raise ValueError(
            f"{len(senders)} senders and {len(receivers)} receivers; give one of each per edge"
        )
    both = torch.cat([senders, receivers])
    if len(both) and not (int(both.min()) >= 0 and int(both.max()) < nodes):
        raise ValueError(
            f"edges name nodes {int(both.min())} to {int(both.max())}; there are nodes 0 to {nodes - 1}"
        )
    order = torch.argsort(receivers, stable=True)
    return Topology(
        num_nodes=nodes, device=receivers.device, edge_index=(senders[order], receivers[order])
    )


def class_node_graph(episode: Episode) -> Topology:
    """Class nodes: labeled supports send to the node of their class, which sends to every query of its task.

    The `sum(way)` class nodes follow the episode's N nodes, task by task, class by class: class `c` of task `t` is node
    `N + way[0] + … + way[t-1] + c`. Unlabeled nodes have no edges.
    """
    n = len(episode.y)
    way = torch.tensor(episode.way, device=episode.y.device)
    support = torch.nonzero(episode.labeled).flatten()
    own_class = n + (way.cumsum(0) - way)[episode.task[support]] + episode.y[support]
    query = torch.nonzero(episode.query).flatten()
    rank, node = ragged_matmul(torch.tensor(episode.n_queries, device=way.device), way)
    topology = from_edges(
        torch.cat([support, n + node]), torch.cat([own_class, query[rank]]), n + sum(episode.way)
    )
    classes = common_size(episode.way)
    return (
        topology
        if classes is None
        else dataclasses.replace(
            topology, items_per_task=common_size(episode.sizes), classes_per_task=classes
        )
    )


def support_to_query_graph(episode: Episode) -> Topology:
    """Every labeled support sends to every query of its task."""
    support, query = (torch.nonzero(mask).flatten() for mask in (episode.labeled, episode.query))
    shots = torch.bincount(episode.task[support], minlength=episode.n_tasks)
    rank, member = ragged_matmul(torch.tensor(episode.n_queries, device=shots.device), shots)
    return dataclasses.replace(
        from_edges(support[member], query[rank], len(episode.y)),
        items_per_task=common_size(episode.sizes),
    )


def recognize_topology(episode: Episode, index: Tensor, nodes: int) -> tuple[Topology, Tensor]:
    """The topology of edges `[2, E]` (sender, receiver) in any order, with all that may be known of it, and their order
    in it: by receiver, then sender.

    Raises:
        ValueError: an index outside `0 .. nodes-1`.
    """
    order = torch.argsort(index[1] * nodes + index[0], stable=True)
    index = index[:, order]
    if nodes == len(episode.y) and index.shape[1] == sum(n * n for n in episode.sizes):
        whole = complete_graph(episode.sizes, episode.y.device)
        if torch.equal(index, torch.stack([whole.senders, whole.receivers])):
            return whole, order
    found = from_edges(index[0], index[1], nodes)
    way = common_size(episode.way) if nodes > len(episode.y) else 0
    if way is None or not _inside(episode, index, nodes):
        return found, order
    return dataclasses.replace(
        found, items_per_task=common_size(episode.sizes), classes_per_task=way
    ), order


def _inside(episode: Episode, index: Tensor, nodes: int) -> bool:
    """Whether no edge leaves its task and, where there are class nodes, each joins an item and a class."""
    items, task = len(episode.y), episode.task
    if nodes > items:
        if nodes != items + sum(episode.way) or not bool(((index < items).sum(0) == 1).all()):
            return False
        way = torch.tensor(episode.way, device=task.device)
        task = torch.cat([task, torch.repeat_interleave(way)])
    return bool((task[index[0]] == task[index[1]]).all())
