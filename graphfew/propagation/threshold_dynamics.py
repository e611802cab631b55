"""PoissonMBO: Poisson learning with one class per node and given class proportions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.propagation.poisson_equation import (
    comparable_scores,
    constrained_weights,
    fill_uniform,
    poisson_sources,
    shift_scores,
)
from graphfew.propagation.solvers import TINY, check_graph
from graphfew.propagation.symmetric_graph import SymmetricGraph, sparse_symmetric_graph

NUM_ITERATIONS = 20
DIFFUSION_STEPS = 40


@torch.no_grad()
def threshold_dynamics(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    label: Float[Tensor, "N C"],
    prior: Float[Tensor, " C"],
    *,
    num_iterations: int = NUM_ITERATIONS,
    diffusion_steps: int = DIFFUSION_STEPS,
    fidelity: float = 1.0,
) -> Float[Tensor, "N C"]:
    """Compute class probabilities by PoissonMBO on a sparse graph, without gradients.

    From the predictions of Poisson learning, short diffusions with the labels as sources alternate
    with new predictions whose class proportions are those of a prior. Classes without a label in a
    node's component have probability 0; a component without labels has uniform probabilities.

    Formula:
        u ← one-hot predictions;  40 times: u ← u - dt ((D - W) u - fidelity · b),  dt = 1 / max d
        prediction of node i: argmax_k w_k (u_ik - min u),  w = `volume_weights` for the prior
        p_ik ∝ w_k (u_ik - min u) after the last diffusion;  b the sources of `poisson_scores`

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric, not negative and 0 on the diagonal, such as
            `sparse_knn_gaussian` returns.
        label: one-hot rows `[N, C]`, zero where the label is unknown.
        prior: class proportions of the nodes without a label, `[C]` with sum 1.
        num_iterations: the most diffusions; fewer are needed if the predictions stay the same.
        diffusion_steps: steps of one diffusion.
        fidelity: weight of the sources.

    Returns:
        Class probabilities `[N, C]`.

    Raises:
        InvalidInputError: shapes that do not match, weights that are not symmetric, or a number of
            steps below 1.
        NumericalError: Poisson learning did not converge.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_knn_gaussian, threshold_dynamics
        >>> graph = sparse_knn_gaussian(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), k=2)
        >>> label = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> threshold_dynamics(*graph, label, torch.tensor([0.5, 0.5])).argmax(1).tolist()
        [0, 0, 1, 1]

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        Those of `poisson_scores` and `volume_weights`. The first predictions have the proportions
        of the prior too (in the published code they are those without a prior). The prior is that
        of the nodes without a label instead of all. The paper has no probabilities.
    """
    check_graph(topology, weights, label)
    check_steps(num_iterations, diffusion_steps)
    graph = sparse_symmetric_graph(topology, weights)
    probs = poisson_mbo_probs(graph, label, prior, num_iterations, diffusion_steps, fidelity)
    return fill_uniform(probs)


def check_steps(num_iterations: int, diffusion_steps: int) -> None:
    """Check the numbers of iterations.

    Args:
        num_iterations: number of diffusions.
        diffusion_steps: steps of one diffusion.

    Raises:
        InvalidInputError: a number below 1.
    """
    if num_iterations < 1 or diffusion_steps < 1:
        raise InvalidInputError(
            f"num_iterations is {num_iterations} and diffusion_steps {diffusion_steps}; both must "
            f"be at least 1"
        )


def poisson_mbo_probs(
    graph: SymmetricGraph,
    label: Float[Tensor, "N C"],
    prior: Float[Tensor, " C"],
    num_iterations: int = NUM_ITERATIONS,
    diffusion_steps: int = DIFFUSION_STEPS,
    fidelity: float = 1.0,
) -> Float[Tensor, "N C"]:
    """Compute `threshold_dynamics` of tasks with equal size.

    Args:
        graph: the tasks' graphs.
        label: one-hot rows `[N, C]`, zero where the label is unknown.
        prior: class proportions of the nodes without a label, `[C]`.
        num_iterations: the most diffusions.
        diffusion_steps: steps of one diffusion.
        fidelity: weight of the sources.

    Returns:
        Class probabilities `[N, C]`; rows of components without labels are zero.
    """
    n_tasks, n_classes = graph.n_tasks, label.shape[1]
    is_present = graph.component_sums(label) > 0
    scores = comparable_scores(graph, label)
    weights = constrained_weights(graph, scores, label, prior)
    prediction = _predict(scores * weights, is_present)
    largest_degree = graph.degree.view(n_tasks, -1, 1).amax(1, keepdim=True).clamp_min(TINY)
    step = (1 / largest_degree).expand(-1, len(label) // n_tasks, -1).reshape(-1, 1)
    source = step * fidelity * poisson_sources(graph, label)
    is_done = torch.zeros(n_tasks, 1, dtype=torch.bool, device=label.device)
    for _ in range(num_iterations):
        u = prediction
        for _ in range(diffusion_steps):
            u = u - step * (graph.degree * u - graph.matmul(u)) + source
        scores = shift_scores(graph, u, is_present)
        moved = constrained_weights(graph, scores, label, prior, weights)
        # A task whose predictions stay the same keeps its weights, whatever other tasks need.
        is_fixed = is_done.expand(-1, weights.numel() // n_tasks).reshape(weights.shape)
        weights = torch.where(is_fixed, weights, moved)
        previous, prediction = prediction, _predict(scores * weights, is_present)
        is_done = (prediction == previous).reshape(n_tasks, -1).all(1, keepdim=True)
        if bool(is_done.all()):
            break
    mass = scores * weights
    total = mass.sum(1, keepdim=True)
    # All classes of a node can have the task's smallest score; then its classes are equally likely.
    is_zero = total == 0
    equal = is_present / is_present.sum(1, keepdim=True).clamp_min(1)
    return torch.where(is_zero, equal.to(mass.dtype), mass / total.masked_fill(is_zero, n_classes))


def _predict(scores: Tensor, is_present: Tensor) -> Tensor:
    """One-hot predictions `[N, C]`; zero if no class is present."""
    best = scores.masked_fill(~is_present, -torch.inf).argmax(1)
    return F.one_hot(best, scores.shape[1]).to(scores.dtype) * is_present
