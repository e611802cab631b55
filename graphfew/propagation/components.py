"""Connected components of an undirected graph, and sums over them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.core.topology import Topology


@torch.no_grad()
def connected_components(topology: Topology) -> Int[Tensor, " N"]:
    """Find the connected components of an undirected graph.

    Args:
        topology: a graph that contains both directions of every edge.

    Returns:
        `[N]` int64: for each node the smallest node of its component, so that two nodes are
        connected if they have the same number.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> from graphfew.propagation import connected_components
        >>> topology = gf.from_edges(torch.tensor([1, 3]), torch.tensor([3, 1]), num_nodes=4)
        >>> connected_components(topology).tolist()
        [0, 1, 2, 1]

    Source:
        Zhang, Azad, Hu, 2020, FastSV: A Distributed-Memory Connected Component Algorithm with Fast
        Convergence.

    Deviations:
        none.
    """
    senders, receivers = topology.senders, topology.receivers
    component = torch.arange(topology.num_nodes, device=topology.device)
    while True:
        smaller = component.scatter_reduce(0, receivers, component[senders], "amin")
        # The number of a node is itself a node of the component. Updating that node too, and
        # following its number, bounds the rounds by the logarithm of a path's length.
        smaller = smaller.scatter_reduce(0, component[receivers], component[senders], "amin")
        smaller = smaller[smaller]
        if torch.equal(smaller, component):
            return component
        component = smaller


def component_sums(
    values: Float[Tensor, "N C"], component: Int[Tensor, " N"]
) -> Float[Tensor, "N C"]:
    """Sum values over the component of each node.

    Args:
        values: one row per node, `[N, C]`.
        component: the component of each node as one of its nodes, see `connected_components`.

    Returns:
        `[N, C]`, with equal rows for the nodes of a component.

    Example:
        >>> import torch
        >>> from graphfew.propagation import component_sums
        >>> component_sums(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 1, 0])).tolist()
        [[4.0], [2.0], [4.0]]
    """
    totals = torch.zeros_like(values).index_add(0, component, values)
    return totals[component]
