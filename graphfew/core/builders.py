"""Functions that build topologies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.ops.centering import common_size
from graphfew.ops.ragged import ragged_product


def complete_graph(sizes: Sequence[int], device: torch.device | str = "cpu") -> Topology:
    """Connect all nodes of each task to each other and to themselves.

    Args:
        sizes: number of nodes of each task.
        device: device of the index tensors.

    Returns:
        A topology of `sum(n * n for n in sizes)` edges.

    Example:
        >>> from graphfew import complete_graph
        >>> topology = complete_graph([2])
        >>> topology.senders.tolist(), topology.receivers.tolist()
        ([0, 1, 0, 1], [0, 0, 1, 1])
    """
    return Topology(num_nodes=sum(sizes), device=torch.device(device), sizes=tuple(sizes))


def from_edges(senders: Tensor, receivers: Tensor, num_nodes: int) -> Topology:
    """Build a topology from a list of edges; no self-loops are added.

    The edges are sorted by receiver, so edge values computed elsewhere must follow
    `topology.senders` and `topology.receivers`.

    Args:
        senders: source node of each edge, `[E]` int64, in any order.
        receivers: target node of each edge, `[E]` int64.
        num_nodes: number of nodes.

    Returns:
        A topology of E edges.

    Raises:
        InvalidInputError: lengths differ, or an index is not in `0 .. num_nodes-1`.

    Example:
        >>> import torch
        >>> from graphfew import from_edges
        >>> topology = from_edges(torch.tensor([0, 1]), torch.tensor([2, 0]), num_nodes=3)
        >>> topology.receivers.tolist()
        [0, 2]
    """
    if len(senders) != len(receivers):
        raise InvalidInputError(
            f"{len(senders)} senders and {len(receivers)} receivers; give one of each per edge"
        )
    if len(senders):
        low = min(int(senders.min()), int(receivers.min()))
        high = max(int(senders.max()), int(receivers.max()))
        if low < 0 or high >= num_nodes:
            raise InvalidInputError(
                f"edges name nodes {low} to {high}; there are nodes 0 to {num_nodes - 1}"
            )
    # Stable, so that edges of the same receiver keep their order.
    order = torch.argsort(receivers, stable=True)
    edge_index = (senders[order], receivers[order])
    return Topology(num_nodes=num_nodes, device=receivers.device, edge_index=edge_index)


def class_node_graph(episode: Episode) -> Topology:
    """Connect labeled supports to the node of their class, and class nodes to all queries.

    The `sum(way)` class nodes follow the N nodes of the episode, task by task: class `c` of task
    `t` is node `N + way[0] + … + way[t-1] + c`. Unlabeled nodes have no edges.

    Args:
        episode: one or several tasks.

    Returns:
        A topology of `N + sum(way)` nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> topology = gf.class_node_graph(episode)
        >>> topology.senders.tolist(), topology.receivers.tolist()
        ([3, 4, 0, 1], [2, 2, 3, 4])
    """
    layout = episode.layout
    # Batched products of items and class nodes need one way for all tasks.
    common_way = layout.common_way
    return Topology(
        num_nodes=len(episode.y) + layout.n_classes,
        device=episode.y.device,
        class_layout=layout,
        items_per_task=None if common_way is None else layout.common_size,
        classes_per_task=common_way or 0,
    )


def support_to_query_graph(episode: Episode) -> Topology:
    """Connect every labeled support to every query of its task.

    Args:
        episode: one or several tasks.

    Returns:
        A topology over the nodes of the episode.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> topology = gf.support_to_query_graph(episode)
        >>> topology.senders.tolist(), topology.receivers.tolist()
        ([0, 1], [2, 2])
    """
    support = torch.nonzero(episode.labeled).flatten()
    query = torch.nonzero(episode.query).flatten()
    n_support = torch.bincount(episode.task[support], minlength=episode.n_tasks)
    n_queries = torch.tensor(episode.n_queries, device=n_support.device)
    query_rank, support_rank = ragged_product(n_queries, n_support)
    senders = support[support_rank]
    receivers = query[query_rank]
    topology = from_edges(senders, receivers, len(episode.y))
    return dataclasses.replace(topology, items_per_task=common_size(episode.sizes))


def recognize_topology(
    episode: Episode, edge_index: Tensor, num_nodes: int
) -> tuple[Topology, Tensor]:
    """Build a topology from edges of unknown structure, and detect the structure.

    Complete graphs, and tasks of equal size without edges between them, get the fast kernels of
    `Topology`, as if they had been built by the other functions of this module.

    Args:
        episode: the tasks that the nodes belong to.
        edge_index: senders and receivers in any order, `[2, E]` int64.
        num_nodes: number of nodes; more than the episode's items if there are class nodes.

    Returns:
        The topology, and the order `[E]` of its edges (by receiver, then sender) in `edge_index`.

    Raises:
        InvalidInputError: an index is not in `0 .. num_nodes-1`.
    """
    # One integer per edge, which sorts by receiver, then sender.
    edge_number = edge_index[1] * num_nodes + edge_index[0]
    order = torch.argsort(edge_number, stable=True)
    edge_index = edge_index[:, order]
    senders, receivers = edge_index[0], edge_index[1]
    n_items = len(episode.y)
    # Compare numbers of edges first: the index of a complete graph may be large.
    n_complete_edges = sum(n * n for n in episode.sizes)
    if num_nodes == n_items and edge_index.shape[1] == n_complete_edges:
        complete = complete_graph(episode.sizes, episode.y.device)
        complete_index = torch.stack([complete.senders, complete.receivers])
        if torch.equal(edge_index, complete_index):
            return complete, order
    topology = from_edges(senders, receivers, num_nodes)
    classes_per_task: int | None = 0
    if num_nodes > n_items:
        classes_per_task = common_size(episode.way)
    if classes_per_task is None:
        return topology, order
    if not _stays_inside_tasks(episode, edge_index, num_nodes):
        return topology, order
    topology = dataclasses.replace(
        topology,
        items_per_task=common_size(episode.sizes),
        classes_per_task=classes_per_task,
    )
    return topology, order


def _stays_inside_tasks(episode: Episode, edge_index: Tensor, num_nodes: int) -> bool:
    """Return whether edges stay inside tasks and, with class nodes, connect item and class."""
    n_items = len(episode.y)
    task = episode.task
    if num_nodes > n_items:
        if num_nodes != n_items + sum(episode.way):
            return False
        n_item_ends = (edge_index < n_items).sum(0)
        if not bool((n_item_ends == 1).all()):
            return False
        way = torch.tensor(episode.way, device=task.device)
        # Class nodes follow the items, task by task.
        task = torch.cat([task, torch.repeat_interleave(way)])
    sender_task = task[edge_index[0]]
    receiver_task = task[edge_index[1]]
    return bool((sender_task == receiver_task).all())
