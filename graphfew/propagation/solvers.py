"""Label spreading and harmonic functions: closed forms for dense tasks, iterations for sparse."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError, NumericalError
from graphfew.ops.sparse_rows import sum_weighted_rows

TINY = 1e-12
# Methods use sparse graphs for tasks with more nodes than this.
DENSE_NODES = 3000
# The columns of one solve, so that what a sparse product gathers stays in the cache.
COLUMNS_PER_SOLVE = 32
# Makes the harmonic function unique on components of the graph without a label.
DAMPING = 1e-6


def dense_propagation(
    transition: Float[Tensor, "G n n"], values: Float[Tensor, "G n C"]
) -> Float[Tensor, "G n C"]:
    """Propagate values over dense graphs to the limit, differentiably.

    Formula:
        F = (I - T)⁻¹ Y = Y + T Y + T² Y + …

    With `T = α S`, S the affinities after `symmetric_normalize` and Y one-hot labels, this is
    label spreading (Zhou et al. 2004).

    Args:
        transition: T, `[G, n, n]`, with a spectral radius below 1.
        values: Y, `[G, n, C]`.

    Returns:
        F, `[G, n, C]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import dense_propagation
        >>> transition = torch.tensor([[[0.0, 0.5], [0.5, 0.0]]])
        >>> dense_propagation(transition, torch.tensor([[[3.0], [0.0]]])).tolist()
        [[[4.0], [2.0]]]
    """
    out: Tensor = torch.linalg.solve(_identity_like(transition) - transition, values)
    return out


def dense_propagation_matrix(transition: Float[Tensor, "G n n"]) -> Float[Tensor, "G n n"]:
    """Compute the matrix that `dense_propagation` multiplies values by, for use as edges.

    Args:
        transition: T, `[G, n, n]`, with a spectral radius below 1.

    Returns:
        `(I - T)⁻¹`, `[G, n, n]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import dense_propagation_matrix
        >>> dense_propagation_matrix(torch.tensor([[[0.5]]])).tolist()
        [[[2.0]]]
    """
    out: Tensor = torch.linalg.inv(_identity_like(transition) - transition)
    return out


def _identity_like(matrices: Tensor) -> Tensor:
    return torch.eye(matrices.shape[1], dtype=matrices.dtype, device=matrices.device)


@torch.no_grad()
def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    b: Float[Tensor, "N C"],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    require_convergence: bool = True,
) -> Float[Tensor, "N C"]:
    """Solve `A X = B` for a symmetric positive definite A, without gradients.

    The columns of B are solved together, each with its own step sizes, so the matrix may differ
    between columns: `product` can apply a block-diagonal A.

    Args:
        product: `[N, C] -> [N, C]`, the product of A with such columns.
        b: the right-hand sides `[N, C]`.
        tolerance: stop when the norm of every column's residual, relative to its right-hand
            side, is at most this.
        max_iterations: the most products with A.
        require_convergence: raise if the tolerance is not reached or A is not positive definite;
            otherwise return the last iterate.

    Returns:
        X, `[N, C]`.

    Raises:
        InvalidInputError: a tolerance or number of iterations that is not positive, or an A that
            is not positive definite.
        NumericalError: the tolerance was not reached.

    Example:
        >>> import torch
        >>> from graphfew.propagation import conjugate_gradients
        >>> a = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> conjugate_gradients(lambda x: a @ x, torch.tensor([[3.0], [4.0]])).round(decimals=4)
        tensor([[1.],
                [1.]])

    Source:
        Hestenes, Stiefel, 1952, Methods of Conjugate Gradients for Solving Linear Systems.

    Deviations:
        none.
    """
    if not tolerance > 0 or max_iterations < 1:
        raise InvalidInputError(
            f"tolerance is {tolerance} and max_iterations {max_iterations}; both must be positive"
        )
    length = torch.linalg.vector_norm(b, dim=0)
    # A column of zeros stays zero instead of becoming NaN.
    residual = b / length.clamp_min(torch.finfo(b.dtype).tiny)
    x, direction = torch.zeros_like(b), residual.clone()
    squared_norm = _squared_norms(residual)
    for _ in range(max_iterations):
        is_active = squared_norm > tolerance**2
        if not bool(is_active.any()):
            break
        image = product(direction)
        curvature = (direction * image).sum(0)
        if require_convergence:
            _check_curvature(curvature, is_active)
        # A converged column takes steps of 0 from here on, so it does not depend on the others.
        # Its 0 / 0 is harmless: `where` discards the branch, and there are no gradients.
        step = torch.where(is_active, squared_norm / curvature, 0)
        x.addcmul_(direction, step)
        residual.addcmul_(image, step, value=-1)
        previous, squared_norm = squared_norm, _squared_norms(residual)
        direction.mul_(torch.where(is_active, squared_norm / previous, 0)).add_(residual)
    if require_convergence and not bool((squared_norm <= tolerance**2).all()):
        raise NumericalError(
            f"conjugate gradients reached a relative residual of "
            f"{float(squared_norm.amax().sqrt()):.1e} in {max_iterations} iterations; the "
            f"tolerance is {tolerance:.1e}; allow more iterations or a larger tolerance"
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
    max_iterations: int = 1000,
) -> Float[Tensor, "N C"]:
    """Spread labels over a sparse graph, without gradients.

    Formula:
        F = (I - αS)⁻¹ Y,  S = D^-½ W D^-½

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric and not negative, such as `union_graph` returns.
        label: Y, one-hot rows `[N, C]`, zero where the label is unknown. Divide each column by
            its sum to give every class the same weight.
        alpha: share of a node's label that comes from its neighbors, in `(0, 1)`.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations, see `conjugate_gradients`.

    Returns:
        F, the score of each class on each node, `[N, C]`.

    Raises:
        InvalidInputError: alpha outside `(0, 1)`, shapes that do not match, or weights that are
            not symmetric.
        NumericalError: the tolerance was not reached.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_self_tuning, spread_labels
        >>> graph = sparse_self_tuning(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), k=2)
        >>> label = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> spread_labels(*graph, label).argmax(1).tolist()
        [0, 0, 1, 1]

    Source:
        Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, Learning with Local and Global Consistency.

    Deviations:
        none.
    """
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha is {alpha}; it must be between 0 and 1")
    check_graph(topology, weights, label)
    inverse_root = root_degrees(topology, weights).reciprocal()
    transition = alpha * _scale_both_ends(topology, weights, inverse_root)
    return solve_in_column_blocks(topology, transition, label, tolerance, max_iterations)


@torch.no_grad()
def harmonic_function(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    label: Float[Tensor, "N C"],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Float[Tensor, "N C"]:
    """Compute the harmonic function: every unlabeled node is the mean of its neighbors.

    Formula:
        F_U = (I - T_UU)⁻¹ T_UL Y_L,  T = D⁻¹ W

    It is solved in its symmetric form, `(I - S_UU) D_U^½ F_U = D_U^-½ W_UL Y_L` with
    `S = D^-½ W D^-½`.

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric and not negative, such as `union_graph` returns.
        label: one-hot rows `[N, C]` of the labeled nodes L, zero for the others, U.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations, see `conjugate_gradients`.

    Returns:
        F, `[N, C]`; labeled nodes keep their rows, nodes without a path to a label have zeros.

    Raises:
        InvalidInputError: shapes that do not match, or weights that are not symmetric.
        NumericalError: the tolerance was not reached.

    Example:
        >>> import torch
        >>> from graphfew.propagation import harmonic_function, sparse_self_tuning
        >>> graph = sparse_self_tuning(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), k=2)
        >>> label = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> harmonic_function(*graph, label).argmax(1).tolist()
        [0, 0, 1, 1]

    Source:
        Zhu, Ghahramani, Lafferty, 2003, Semi-Supervised Learning Using Gaussian Fields and
        Harmonic Functions.

    Deviations:
        T is damped by 1e-6.
    """
    is_unlabeled = ~label.any(1)
    check_graph(topology, weights, label)
    root_degree = root_degrees(topology, weights)
    transition = (1 - DAMPING) * _scale_both_ends(topology, weights, root_degree.reciprocal())
    into_unlabeled = transition * is_unlabeled[topology.receivers, None]
    # Without edges from labeled nodes either, their rows are those of the identity and their
    # right-hand sides are zero: one solve on all nodes is the solve on U.
    among_unlabeled = into_unlabeled * is_unlabeled[topology.senders, None]
    from_labels = sparse_matmul(topology, into_unlabeled, label * root_degree)
    solution = solve_in_column_blocks(
        topology, among_unlabeled, from_labels, tolerance, max_iterations
    )
    # The solve was for D^½ F; labeled rows of the solution are 0.
    return solution.div_(root_degree).add_(label)


@torch.no_grad()
def sparse_matmul(
    topology: Topology, weights: Float[Tensor, "E 1"], x: Float[Tensor, "N C"]
) -> Float[Tensor, "N C"]:
    """Multiply a sparse matrix of edge weights with a dense matrix, without gradients.

    It has the values of `topology.propagate`, and needs no array of E rows.

    Args:
        topology: the graph, receivers as rows.
        weights: `[E, 1]`.
        x: `[N, C]`.

    Returns:
        `[N, C]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_matmul, sparse_self_tuning
        >>> topology, weights = sparse_self_tuning(torch.tensor([[0.0], [1.0]]), k=1)
        >>> sparse_matmul(topology, torch.full_like(weights, 2.0), torch.eye(2)).tolist()
        [[0.0, 2.0], [2.0, 0.0]]
    """
    return sum_weighted_rows(x, topology.senders, topology.ptr, weights[:, 0])


def solve_in_column_blocks(
    topology: Topology, transition: Tensor, b: Tensor, tolerance: float, max_iterations: int
) -> Float[Tensor, "N C"]:
    """Solve `(I - T) X = B` by conjugate gradients, a block of columns at a time.

    Args:
        topology: the graph.
        transition: T, `[E, 1]`, symmetric.
        b: B, `[N, C]`.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations, see `conjugate_gradients`.

    Returns:
        X, `[N, C]`.

    Raises:
        NumericalError: the tolerance was not reached.
    """

    def product(columns: Tensor) -> Tensor:
        return columns - sparse_matmul(topology, transition, columns)

    solutions = []
    for columns in torch.split(b, COLUMNS_PER_SOLVE, dim=1):
        solution = conjugate_gradients(
            product, columns.contiguous(), tolerance=tolerance, max_iterations=max_iterations
        )
        solutions.append(solution)
    return torch.cat(solutions, dim=1)


def _squared_norms(columns: Tensor) -> Tensor:
    out: Tensor = torch.linalg.vector_norm(columns, dim=0).square()
    return out


def _check_curvature(curvature: Tensor, is_active: Tensor) -> None:
    """Check that `pᵀ A p` is positive for the active columns."""
    if not bool((curvature[is_active] > 0).all()):
        raise InvalidInputError(
            f"pᵀ A p is {float(curvature[is_active].min()):.1e} for a direction p; conjugate "
            f"gradients need a symmetric positive definite A: for a graph, symmetric weights "
            f"that are not negative"
        )


def check_graph(topology: Topology, weights: Tensor, label: Tensor) -> None:
    """Check the shapes of a graph's weights and labels.

    Args:
        topology: the graph, with N nodes and E edges.
        weights: `[E, 1]`.
        label: `[N, C]`.

    Raises:
        InvalidInputError: shapes that do not match.
    """
    n_edges = len(topology.receivers)
    if weights.shape != (n_edges, 1) or len(label) != topology.num_nodes:
        raise InvalidInputError(
            f"weights have shape {tuple(weights.shape)} and label {tuple(label.shape)}; a graph "
            f"with {n_edges} edges and {topology.num_nodes} nodes needs weights {(n_edges, 1)} "
            f"and a row of label for every node"
        )


def root_degrees(topology: Topology, weights: Tensor) -> Float[Tensor, "N 1"]:
    """Compute `D^½` after a check, by the degrees, that the graph is symmetric.

    Args:
        topology: the graph.
        weights: `[E, 1]`, not negative.

    Returns:
        `[N, 1]`, positive also for isolated nodes.

    Raises:
        InvalidInputError: weights that are not symmetric.
    """
    # Equal only up to rounding, because both sums add the weights in other orders.
    in_degree = topology.sum(weights)
    out_degree = torch.zeros_like(in_degree).index_add_(0, topology.senders, weights)
    is_equal = torch.isclose(in_degree, out_degree, rtol=1e-3, atol=TINY).all(1)
    unequal = torch.nonzero(~is_equal).flatten()
    if len(unequal):
        node = int(unequal[0])
        raise InvalidInputError(
            f"the weights into node {node} sum to {float(in_degree[node]):.4g} and those out of "
            f"it to {float(out_degree[node]):.4g}; the graph must be symmetric: make it so with "
            f"union_graph or mutual_graph"
        )
    return in_degree.clamp_min(TINY).sqrt()


def _scale_both_ends(topology: Topology, weights: Tensor, scale: Tensor) -> Tensor:
    out: Tensor = weights * scale[topology.receivers] * scale[topology.senders]
    return out
