"""Undirected graphs of directed ones: edges that exist in either or in both directions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.topology import Topology

Combine = Callable[[Tensor, Tensor], Tensor]


def union_graph(
    topology: Topology, edges: Float[Tensor, "E C"], combine: Combine = torch.maximum
) -> tuple[Topology, Tensor]:
    """Make a graph undirected by keeping edges that exist in either direction.

    Args:
        topology: a graph without repeated edges.
        edges: `[E, C]`.
        combine: computes the value of i → j from those of i → j and j → i, `[E', C]` each, where
            a missing edge has 0. A symmetric function gives a symmetric graph.

    Returns:
        The topology, edges sorted by receiver and then by sender, and the values `[E', C]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn, union_graph
        >>> neighbors = knn(torch.tensor([[0.0], [1.0], [4.0]]), 1)
        >>> topology, edges = union_graph(neighbors.topology, neighbors.distance.view(-1, 1))
        >>> topology.senders.tolist(), edges[:, 0].tolist()
        ([1, 0, 2, 1], [1.0, 1.0, 3.0, 3.0])
    """
    both = _both_directions(topology, edges)
    return both.topology, combine(both.forward, both.backward)


def mutual_graph(
    topology: Topology, edges: Float[Tensor, "E C"], combine: Combine = torch.minimum
) -> tuple[Topology, Tensor]:
    """Make a graph undirected by keeping edges that exist in both directions.

    Args:
        topology: a graph without repeated edges.
        edges: `[E, C]`.
        combine: computes the value of i → j from those of i → j and j → i, `[E', C]` each.

    Returns:
        The topology, edges sorted by receiver and then by sender, and the values `[E', C]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn, mutual_graph
        >>> neighbors = knn(torch.tensor([[0.0], [1.0], [4.0]]), 1)
        >>> topology, edges = mutual_graph(neighbors.topology, neighbors.distance.view(-1, 1))
        >>> topology.senders.tolist(), edges[:, 0].tolist()
        ([1, 0], [1.0, 1.0])
    """
    both = _both_directions(topology, edges)
    mutual = torch.nonzero(both.is_mutual).flatten()
    edge_index = (both.topology.senders[mutual], both.topology.receivers[mutual])
    undirected = Topology(topology.num_nodes, topology.device, edge_index=edge_index)
    return undirected, combine(both.forward[mutual], both.backward[mutual])


@dataclasses.dataclass(frozen=True, eq=False)
class _BothDirections:
    """The edges of the union graph, each edge's value and that of its reverse."""

    topology: Topology
    forward: Tensor
    backward: Tensor
    is_mutual: Tensor


def _both_directions(topology: Topology, edges: Tensor) -> _BothDirections:
    n = topology.num_nodes
    # One integer per edge, which sorts by receiver and then by sender.
    forward_code = topology.receivers * n + topology.senders
    backward_code = topology.senders * n + topology.receivers
    # A self-loop is its own reverse; both of its directions get the same position.
    code, position = torch.unique(torch.cat([forward_code, backward_code]), return_inverse=True)
    values, exists = [], []
    for index in position.chunk(2):
        values.append(edges.new_zeros(len(code), edges.shape[1]).index_copy(0, index, edges))
        absent = torch.zeros(len(code), dtype=torch.bool, device=code.device)
        exists.append(absent.index_fill(0, index, True))
    union = Topology(n, topology.device, edge_index=(code % n, code // n))
    return _BothDirections(union, values[0], values[1], exists[0] & exists[1])
