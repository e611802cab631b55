"""Poisson learning: labels as sources of a diffusion on the graph, for very few labels."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.propagation.solvers import check_graph
from graphfew.propagation.symmetric_graph import SymmetricGraph, sparse_symmetric_graph
from graphfew.propagation.volume_constraint import volume_weights

# Probability of the class of a node with average scores whose other classes are equally unlikely.
# Chosen for the smallest calibration error over data sets of digits, sentences and photos.
TYPICAL_PROB = 0.99


@torch.no_grad()
def poisson_scores(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    label: Float[Tensor, "N C"],
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> Float[Tensor, "N C"]:
    """Solve the Poisson equation with labels as sources, on a sparse graph without gradients.

    A solution exists only if the sources of each connected component have sum 0. Every component
    is therefore solved as a graph of its own, with the mean of its own labels.

    Formula:
        (D - W) u = Σ_j δ_j (y_j - ȳ),  ȳ the mean label of the component of j
        Σ_i d_i u_i = 0 in every component

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric, not negative and 0 on the diagonal, such as
            `sparse_knn_gaussian` returns.
        label: one-hot rows `[N, C]`, zero where the label is unknown.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations, see `conjugate_gradients`.

    Returns:
        u, `[N, C]`, with rows of sum 0. The prediction is the class with the largest score. The
        scores are 0 in components with labels of fewer than two classes, and for classes without
        a label in the component.

    Raises:
        InvalidInputError: shapes that do not match, or weights that are not symmetric.
        NumericalError: the tolerance was not reached.

    Example:
        >>> import torch
        >>> from graphfew.propagation import poisson_scores, sparse_knn_gaussian
        >>> graph = sparse_knn_gaussian(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), k=2)
        >>> label = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> poisson_scores(*graph, label).argmax(1).tolist()
        [0, 0, 1, 1]

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        The paper assumes a connected graph, with one mean label.
    """
    check_graph(topology, weights, label)
    graph = sparse_symmetric_graph(
        topology, weights, tolerance=tolerance, max_iterations=max_iterations
    )
    return solve_poisson(graph, label)


@torch.no_grad()
def poisson_learning(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    label: Float[Tensor, "N C"],
    prior: Float[Tensor, " C"] | None = None,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> Float[Tensor, "N C"]:
    """Compute class probabilities by Poisson learning on a sparse graph, without gradients.

    Formula:
        p_ik ∝ exp(κ w_k (u_ik / τ - m)),  u as `poisson_scores` computes it
        τ the mean over the component's nodes of max_k u_ik · K / (K - 1),  K its classes
        κ = log(99 (K - 1)),  m the smallest u / τ,  w = 1, or `volume_weights` for a prior

    Classes without a label in a node's component have probability 0. A component without labels
    has uniform probabilities.

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric, not negative and 0 on the diagonal, such as
            `sparse_knn_gaussian` returns.
        label: one-hot rows `[N, C]`, zero where the label is unknown.
        prior: class proportions of the nodes without a label, `[C]` with sum 1. Without a prior,
            Poisson learning favors classes of equal size.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations, see `conjugate_gradients`.

    Returns:
        Class probabilities `[N, C]`.

    Raises:
        InvalidInputError: shapes that do not match, or weights that are not symmetric.
        NumericalError: the tolerance was not reached.

    Example:
        >>> import torch
        >>> from graphfew.propagation import poisson_learning, sparse_knn_gaussian
        >>> graph = sparse_knn_gaussian(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), k=2)
        >>> label = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> poisson_learning(*graph, label).argmax(1).tolist()
        [0, 0, 1, 1]

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        Those of `poisson_scores` and `volume_weights`. The prior is that of the nodes without a
        label instead of all. Scores are divided by τ, so that components are comparable. The
        paper has no probabilities.
    """
    check_graph(topology, weights, label)
    graph = sparse_symmetric_graph(
        topology, weights, tolerance=tolerance, max_iterations=max_iterations
    )
    return fill_uniform(poisson_probs(graph, label, prior))


def solve_poisson(graph: SymmetricGraph, label: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Compute `poisson_scores` of tasks with equal size."""
    return graph.solve_laplacian(poisson_sources(graph, label))


def poisson_sources(graph: SymmetricGraph, label: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Subtract from each label the mean label of its component, `[N, C]`."""
    is_labeled = label.any(1, keepdim=True)
    n_labeled = graph.component_sums(is_labeled.to(label.dtype)).clamp_min(1)
    mean_label = graph.component_sums(label) / n_labeled
    return (label - mean_label) * is_labeled


def poisson_probs(
    graph: SymmetricGraph, label: Float[Tensor, "N C"], prior: Float[Tensor, " C"] | None
) -> Float[Tensor, "N C"]:
    """Compute `poisson_learning` of tasks with equal size.

    Args:
        graph: the tasks' graphs.
        label: one-hot rows `[N, C]`, zero where the label is unknown.
        prior: class proportions of the nodes without a label, `[C]`, or None.

    Returns:
        Class probabilities `[N, C]`; rows of components without labels are zero.
    """
    is_present = graph.component_sums(label) > 0
    n_classes = is_present.sum(1, keepdim=True)
    scores = comparable_scores(graph, label)
    if prior is not None:
        scores = scores * constrained_weights(graph, scores, label, prior)
    odds = TYPICAL_PROB / (1 - TYPICAL_PROB) * (n_classes - 1).clamp_min(1)
    logits = scores * odds.to(scores.dtype).log()
    # Without any present class, the row of the softmax is removed below.
    is_absent = ~is_present & (n_classes > 0)
    return logits.masked_fill(is_absent, -torch.inf).softmax(1) * (n_classes > 0)


def comparable_scores(graph: SymmetricGraph, label: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Compute Poisson scores of comparable magnitude in all components.

    Args:
        graph: the tasks' graphs.
        label: one-hot rows `[N, C]`, zero where the label is unknown.

    Returns:
        `u / τ - m` of `poisson_learning`, `[N, C]`, and 0 for classes without a label in the
        component.
    """
    scores = solve_poisson(graph, label)
    is_present = graph.component_sums(label) > 0
    n_classes = is_present.sum(1, keepdim=True)
    spread = scores.amax(1, keepdim=True) * n_classes / (n_classes - 1).clamp_min(1)
    size = graph.component_sums(torch.ones_like(spread))
    mean_spread = graph.component_sums(spread) / size
    # The spread is 0 for components with fewer than two classes, whose scores are 0 as well.
    return shift_scores(graph, scores / torch.where(mean_spread > 0, mean_spread, 1), is_present)


def shift_scores(
    graph: SymmetricGraph, scores: Float[Tensor, "N C"], is_present: Bool[Tensor, "N C"]
) -> Float[Tensor, "N C"]:
    """Subtract each task's smallest score, so that class weights can multiply the scores.

    Args:
        graph: the tasks' graphs.
        scores: `[N, C]`.
        is_present: whether the node's component has a label of the class, `[N, C]`.

    Returns:
        `[N, C]`, at least 0, and 0 for classes that are not present.
    """
    by_task = scores.masked_fill(~is_present, torch.inf).reshape(graph.n_tasks, -1)
    smallest = by_task.amin(1).nan_to_num(posinf=0.0)
    shifted = scores.reshape(graph.n_tasks, -1) - smallest[:, None]
    return shifted.view_as(scores).masked_fill(~is_present, 0)


def constrained_weights(
    graph: SymmetricGraph,
    scores: Float[Tensor, "N C"],
    label: Float[Tensor, "N C"],
    prior: Float[Tensor, " C"],
    start: Float[Tensor, "N C"] | None = None,
) -> Float[Tensor, "N C"]:
    """Compute `volume_weights` for the nodes without a label that are connected to one.

    Args:
        graph: the tasks' graphs.
        scores: `[N, C]`, from `shift_scores`.
        label: one-hot rows `[N, C]`, zero where the label is unknown.
        prior: class proportions, `[C]` with sum 1.
        start: weights to start from; None for 1.

    Returns:
        The weights of every node's task, `[N, C]`.
    """
    by_task = (graph.n_tasks, -1, len(prior))
    is_present = graph.component_sums(label) > 0
    is_counted = ~label.any(1) & is_present.any(1)
    possible = scores.masked_fill(~is_present, -torch.inf).reshape(by_task)
    first = None if start is None else start.reshape(by_task)[:, :1]
    weights = volume_weights(possible, prior, is_counted.view(graph.n_tasks, -1), first)
    return weights.expand(possible.shape).reshape(scores.shape)


def fill_uniform(probs: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Replace rows of zeros, for which nothing is known, by uniform probabilities."""
    return torch.where(probs.any(1, keepdim=True), probs, 1 / probs.shape[1])
