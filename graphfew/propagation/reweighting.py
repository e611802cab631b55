"""Graphs reweighted near labeled nodes, on which harmonic functions work with very few labels."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.propagation.solvers import check_graph
from graphfew.propagation.symmetric_graph import SymmetricGraph, sparse_symmetric_graph

# Smallest node weight of the Poisson reweighting.
SMALLEST_WEIGHT = 1e-5


@torch.no_grad()
def reweight_nonlocal(
    topology: Topology, weights: Float[Tensor, "E 1"], label: Float[Tensor, "N C"]
) -> Float[Tensor, "E 1"]:
    """Reweight a sparse graph as the weighted nonlocal Laplacian (WNLL) does.

    The `harmonic_function` of the new weights is the solution of the paper. Otherwise, with few
    labels among many nodes, harmonic functions are nearly constant, with spikes at the labels.

    Formula:
        W'_ij = (a_i + a_j) W_ij
        a_i = n / m for labeled nodes, 1 for others;  m of the component's n nodes are labeled

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric, not negative and 0 on the diagonal.
        label: one-hot rows `[N, C]`, zero where the label is unknown.

    Returns:
        W', `[E, 1]`.

    Raises:
        InvalidInputError: shapes that do not match, or weights that are not symmetric.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> from graphfew.propagation import reweight_nonlocal
        >>> path = gf.from_edges(torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1]), 3)
        >>> label = torch.tensor([[1.0], [0.0], [0.0]])
        >>> reweight_nonlocal(path, torch.ones(4, 1), label)[:, 0].tolist()
        [4.0, 4.0, 2.0, 2.0]

    Source:
        Shi, Osher, Zhu, 2017, Weighted Nonlocal Laplacian on Interpolation from Sparse Data.

    Deviations:
        n and m are counted in each connected component (the paper's graph is connected).
    """
    check_graph(topology, weights, label)
    graph = sparse_symmetric_graph(topology, weights)
    factor = nonlocal_node_weights(graph, label.any(1, keepdim=True))
    return weights * (factor[topology.receivers] + factor[topology.senders])


@torch.no_grad()
def reweight_poisson(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    label: Float[Tensor, "N C"],
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> Float[Tensor, "E 1"]:
    """Reweight a sparse graph by the solution of a Poisson equation with sources at the labels.

    The `harmonic_function` of the new weights is Poisson-reweighted Laplace learning.

    Formula:
        W'_ij = γ_i γ_j W_ij
        (D - W) γ = Σ_j (δ_j - 1/n),  j the labeled of the n nodes of a component;  min γ = 1e-5

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric, not negative and 0 on the diagonal.
        label: one-hot rows `[N, C]`, zero where the label is unknown.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations, see `conjugate_gradients`.

    Returns:
        W', `[E, 1]`.

    Raises:
        InvalidInputError: shapes that do not match, or weights that are not symmetric.
        NumericalError: the tolerance was not reached.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> from graphfew.propagation import reweight_poisson
        >>> path = gf.from_edges(torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1]), 3)
        >>> label = torch.tensor([[1.0], [0.0], [0.0]])
        >>> reweighted = reweight_poisson(path, torch.ones(4, 1), label)[:, 0]
        >>> bool(reweighted[0] > 1e4 * reweighted[2])
        True

    Source:
        Miller, Calder, 2023, Poisson Reweighted Laplacian Uncertainty Sampling for Graph-Based
        Active Learning.

    Deviations:
        Each connected component has an equation of its own (the paper's graph is connected).
    """
    check_graph(topology, weights, label)
    graph = sparse_symmetric_graph(
        topology, weights, tolerance=tolerance, max_iterations=max_iterations
    )
    factor = poisson_node_weights(graph, label.any(1, keepdim=True))
    return weights * factor[topology.receivers] * factor[topology.senders]


def nonlocal_node_weights(
    graph: SymmetricGraph, is_labeled: Bool[Tensor, "N 1"]
) -> Float[Tensor, "N 1"]:
    """Compute the node weights a of `reweight_nonlocal`."""
    n_nodes = graph.component_sums(torch.ones_like(graph.degree))
    n_labeled = graph.component_sums(is_labeled.to(graph.degree.dtype))
    return torch.where(is_labeled, n_nodes / n_labeled.clamp_min(1), 1)


def poisson_node_weights(
    graph: SymmetricGraph, is_labeled: Bool[Tensor, "N 1"]
) -> Float[Tensor, "N 1"]:
    """Compute the node weights γ of `reweight_poisson`."""
    sources = is_labeled.to(graph.degree.dtype)
    n_nodes = graph.component_sums(torch.ones_like(sources))
    solution = graph.solve_laplacian(sources - graph.component_sums(sources) / n_nodes)
    smallest = torch.full_like(solution, torch.inf)
    smallest = smallest[:, 0].scatter_reduce(0, graph.component, solution[:, 0], "amin")
    return solution - smallest[graph.component, None] + SMALLEST_WEIGHT
