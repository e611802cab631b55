"""Label spreading and harmonic functions on sparse graphs of many nodes, by conjugate gradients; no gradient flows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.topology import Topology

TINY = 1e-12
# Above this methods take a task's sparse graph of neighbors in the place of arrays of all pairs.
DENSE_NODES = 3000
COLUMNS = 32
# Keeps the solution unique where a part of the graph has no label.
DAMPING = 1e-6


@torch.no_grad()
def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    b: Float[Tensor, "N C"],
    *,
    tolerance: float = 1e-6,
    most_rounds: int = 1000,
) -> Float[Tensor, "N C"]:
    """`A⁻¹ B` for a symmetric positive definite A, all columns of B at once and each with steps of its own.

    Args:
        apply: `[N, C] -> [N, C]`, the product of A with such columns.
        b: the right-hand sides `[N, C]`; the answer has their dtype.
        tolerance: stop when every column's residual, as updated from round to round, is at most so long beside its
            right-hand side.
        most_rounds: products with A, at most.

    Raises:
        ValueError: a tolerance or a number of rounds that is not positive, or an A that is not positive definite.
        ArithmeticError: the tolerance was not reached.

    Source: Hestenes, Stiefel, 1952, Methods of Conjugate Gradients for Solving Linear Systems.

    Deviations: none.
    """
    if not tolerance > 0 or most_rounds < 1:
        raise ValueError(
            f"tolerance is {tolerance} and most_rounds {most_rounds}; both must be positive"
        )
    length = torch.linalg.vector_norm(b, dim=0)
    residual = b / length.clamp_min(torch.finfo(b.dtype).tiny)
    x, direction, left = torch.zeros_like(b), residual.clone(), _squares(residual)
    for _ in range(most_rounds):
        going = left > tolerance**2
        if not bool(going.any()):
            break
        moved = apply(direction)
        # A column that is done takes steps of 0, and so stays done.
        step = torch.where(going, left / _curvature(direction, moved, going), 0)
        x.addcmul_(direction, step)
        residual.addcmul_(moved, step, value=-1)
        before, left = left, _squares(residual)
        direction.mul_(torch.where(going, left / before, 0)).add_(residual)
    if not bool((left <= tolerance**2).all()):
        raise ArithmeticError(
            f"conjugate gradients came to a relative residual of {float(left.amax().sqrt()):.1e} in "
            f"{most_rounds} rounds; the tolerance is {tolerance:.1e}; allow more rounds or a larger "
            f"tolerance"
        )
    return x.mul_(length)


@torch.no_grad()
def spread_labels(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    label: Float[Tensor, "N C"],
    alpha: float = 0.8,
    *,
    tolerance: float = 1e-6,
    most_rounds: int = 1000,
) -> Float[Tensor, "N C"]:
    """Local and global consistency, `F = (I - αS)⁻¹ Y`, S = D⁻½ W D⁻½: the mass of every class on every node.

    Args:
        topology, weights: the graph W, symmetric and not negative, such as `union` makes it.
        label: Y, known labels as one-hot rows and zeros where there is none. Columns that sum to 1 keep classes with
            more labels from being favored.
        alpha: share of a node's label that comes from its neighbors, in `(0, 1)`.
        tolerance, most_rounds: as of `conjugate_gradients`.

    Raises:
        ValueError: alpha outside `(0, 1)`, shapes that do not fit, or weights that are not symmetric.
        ArithmeticError: the tolerance was not reached.

    Source: Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, Learning with Local and Global Consistency.

    Deviations: none.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    scale = _half_degree(topology, weights, label).reciprocal()
    near = alpha * _scaled(topology, weights, scale)
    return _by_columns(topology, near, label, tolerance, most_rounds)


@torch.no_grad()
def harmonic_function(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    label: Float[Tensor, "N C"],
    *,
    tolerance: float = 1e-6,
    most_rounds: int = 1000,
) -> Float[Tensor, "N C"]:
    """The harmonic function, `F_U = (I - T_UU)⁻¹ T_UL Y_L`, T = D⁻¹ W: unlabeled nodes are their neighbors' mean.

    Labeled nodes keep their rows; those that no label reaches have zeros. It is solved in its symmetric form,
    `(I - S_UU) D_U^½ F_U = D_U^-½ W_UL Y_L`, S = D⁻½ W D⁻½.

    Args:
        topology, weights: the graph W, symmetric and not negative, such as `union` makes it.
        label: known labels as one-hot rows, and zeros where there is none, which are the nodes U.
        tolerance, most_rounds: as of `conjugate_gradients`.

    Raises:
        ValueError: shapes that do not fit, or weights that are not symmetric.
        ArithmeticError: the tolerance was not reached.

    Source: Zhu, Ghahramani, Lafferty, 2003, Semi-Supervised Learning Using Gaussian Fields and Harmonic Functions.

    Deviations: T is damped by 1e-6.
    """
    free = ~label.any(1)
    half = _half_degree(topology, weights, label)
    near = (1 - DAMPING) * _scaled(topology, weights, half.reciprocal())
    near = near * free[topology.receivers, None]
    # Rows of labeled nodes are those of the identity and their right-hand sides zero, so U alone is solved.
    among = near * free[topology.senders, None]
    given = sparse_matmul(topology, near, label * half)
    solved = _by_columns(topology, among, given, tolerance, most_rounds)
    return solved.div_(half).add_(label)


@torch.no_grad()
def sparse_matmul(
    topology: Topology, weights: Float[Tensor, "E 1"], x: Float[Tensor, "N C"]
) -> Float[Tensor, "N C"]:
    """`W x`, as `topology.propagate` has it, without a row of x for each edge and without a gradient."""
    out: Tensor = F.embedding_bag(
        topology.senders,
        x,
        topology.ptr,
        mode="sum",
        per_sample_weights=weights[:, 0],
        include_last_offset=True,
    )
    return out


def _by_columns(
    topology: Topology, near: Tensor, given: Tensor, tolerance: float, most_rounds: int
) -> Tensor:
    """`(I - near)⁻¹ given`, some columns at a time: what a product gathers then stays in a processor's cache."""
    parts = [
        conjugate_gradients(
            lambda f: f - sparse_matmul(topology, near, f),
            columns.contiguous(),
            tolerance=tolerance,
            most_rounds=most_rounds,
        )
        for columns in torch.split(given, COLUMNS, dim=1)
    ]
    return torch.cat(parts, dim=1)


def _squares(columns: Tensor) -> Tensor:
    out: Tensor = torch.linalg.vector_norm(columns, dim=0).square()
    return out


def _curvature(direction: Tensor, moved: Tensor, going: Tensor) -> Tensor:
    """`pᵀ A p` of each column; positive where the column is going."""
    curvature = (direction * moved).sum(0)
    if not bool((curvature[going] > 0).all()):
        raise ValueError(
            f"pᵀ A p is {float(curvature[going].min()):.1e} for a direction p; conjugate gradients need a "
            f"symmetric positive definite A: of a graph, symmetric weights that are not negative"
        )
    return curvature


def _half_degree(topology: Topology, weights: Tensor, label: Tensor) -> Tensor:
    """`D^½`, `[N, 1]`, of a graph whose shapes fit and that may be symmetric."""
    edges = len(topology.receivers)
    if weights.shape != (edges, 1) or len(label) != topology.num_nodes:
        raise ValueError(
            f"weights are {tuple(weights.shape)} and label {tuple(label.shape)}; a graph of {edges} edges "
            f"and {topology.num_nodes} nodes needs weights {(edges, 1)} and a row of label for every node"
        )
    into = topology.sum(weights)
    out = torch.zeros_like(into).index_add_(0, topology.senders, weights)
    wrong = torch.nonzero(~torch.isclose(into, out, rtol=1e-3, atol=TINY).all(1)).flatten()
    if len(wrong):
        node = int(wrong[0])
        raise ValueError(
            f"weights into node {node} sum to {float(into[node]):.4g} and weights out of it to "
            f"{float(out[node]):.4g}; the graph must be symmetric: make it so with union or mutual"
        )
    return into.clamp_min(TINY).sqrt()


def _scaled(topology: Topology, weights: Tensor, scale: Tensor) -> Tensor:
    out: Tensor = weights * scale[topology.receivers] * scale[topology.senders]
    return out
