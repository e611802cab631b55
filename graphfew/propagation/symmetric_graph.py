"""`SymmetricGraph`: one interface to sparse and dense symmetric weights, for solvers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.propagation.components import component_sums, connected_components
from graphfew.propagation.solvers import TINY, root_degrees, solve_in_column_blocks, sparse_matmul

# Edges whose normalized weight is below this many units of rounding count as absent: a component
# that only such an edge connects has no solution that survives rounding.
ABSENT_ROUNDINGS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class SymmetricGraph:
    """Symmetric weights without a diagonal, as an operator on node values `[N, C]`.

    It holds one large task, or several tasks of equal size one after the other.

    Attributes:
        n_tasks: number of tasks.
        degree: D, the sum of the weights of each node, `[N, 1]`.
        component: connected component of each node, `[N]`, see `connected_components`.
        matmul: from x `[N, C]` to W x `[N, C]`.
        solve_normalized: from b `[N, C]` to a solution x of `(I - D^-½ W D^-½) x = b`, where the
            sum of `D^½ b` over every component is 0.
    """

    n_tasks: int
    degree: Float[Tensor, "N 1"]
    component: Int[Tensor, " N"]
    matmul: Callable[[Tensor], Tensor]
    solve_normalized: Callable[[Tensor], Tensor]

    def component_sums(self, values: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Sum values over the component of each node, `[N, C]`."""
        return component_sums(values, self.component)

    def solve_laplacian(self, source: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Solve `(D - W) u = source`.

        Args:
            source: `[N, C]`, with sum 0 over every connected component.

        Returns:
            The solution u, `[N, C]`, for which `Σ_i d_i u_i` is 0 in every component.
        """
        root = self.degree.clamp_min(TINY).sqrt()
        solution = self.solve_normalized(source / root) / root
        # The solution is unique up to a constant per component.
        volume = self.component_sums(self.degree).clamp_min(TINY)
        return solution - self.component_sums(self.degree * solution) / volume


def sparse_symmetric_graph(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> SymmetricGraph:
    """Wrap one sparse graph, which is solved by conjugate gradients without gradients.

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, symmetric, not negative, and 0 on the diagonal.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations, see `conjugate_gradients`.

    Returns:
        The graph as an operator.

    Raises:
        InvalidInputError: shapes that do not match, or weights that are not symmetric.
    """
    scale = root_degrees(topology, weights).reciprocal()
    normalized = weights * scale[topology.receivers] * scale[topology.senders]
    is_present = (normalized > _absent_weight(weights))[:, 0]
    links = (topology.senders[is_present], topology.receivers[is_present])
    topology = Topology(topology.num_nodes, topology.device, edge_index=links)
    weights = weights[is_present]
    degree = topology.sum(weights)
    scale = degree.clamp_min(TINY).rsqrt()
    normalized = weights * scale[topology.receivers] * scale[topology.senders]

    def matmul(x: Tensor) -> Tensor:
        return sparse_matmul(topology, weights, x)

    def solve_normalized(b: Tensor) -> Tensor:
        # The system is singular, but conjugate gradients stay in the range of the matrix, where
        # it is positive definite. The normalization is Jacobi's preconditioner.
        return solve_in_column_blocks(topology, normalized, b, tolerance, max_iterations)

    component = connected_components(topology)
    return SymmetricGraph(1, degree, component, matmul, solve_normalized)


def dense_symmetric_graph(weights: Float[Tensor, "G n n"]) -> SymmetricGraph:
    """Wrap the dense graphs of tasks with equal size, which are solved in closed form.

    Args:
        weights: W, `[G, n, n]`, symmetric, not negative, and 0 on the diagonal.

    Returns:
        The graphs as one operator on `[G * n, C]`, differentiable in the weights.
    """
    n_tasks, n_nodes, _ = weights.shape
    scale = weights.sum(2, keepdim=True).clamp_min(TINY).rsqrt()
    is_present = scale * weights * scale.mT > _absent_weight(weights)
    weights = weights * is_present
    degree = weights.sum(2, keepdim=True)
    root = degree.clamp_min(TINY).sqrt()
    component = _dense_components(is_present)
    is_same = component.view(n_tasks, 1, n_nodes) == component.view(n_tasks, n_nodes, 1)
    volume = component_sums(degree.view(-1, 1), component).view_as(root).clamp_min(TINY)
    # The null space of the normalized Laplacian is D^½ on each component. Its projection makes
    # the matrix regular, and changes nothing for right-hand sides that are orthogonal to it.
    projection = is_same * (root / volume) * root.mT
    identity = torch.eye(n_nodes, dtype=weights.dtype, device=weights.device)
    laplacian = identity - weights / (root * root.mT)

    def matmul(x: Tensor) -> Tensor:
        return torch.bmm(weights, x.reshape(n_tasks, n_nodes, -1)).flatten(0, 1)

    def solve_normalized(b: Tensor) -> Tensor:
        columns = b.reshape(n_tasks, n_nodes, -1)
        solution: Tensor = torch.linalg.solve(laplacian + projection, columns)
        return solution.flatten(0, 1)

    return SymmetricGraph(n_tasks, degree.view(-1, 1), component, matmul, solve_normalized)


def _absent_weight(weights: Tensor) -> float:
    return ABSENT_ROUNDINGS * torch.finfo(weights.dtype).eps


def _dense_components(is_present: Tensor) -> Tensor:
    """Connected components of the nodes `[G * n]` of adjacency matrices `[G, n, n]`."""
    n_tasks, n_nodes, _ = is_present.shape
    task, receiver, sender = torch.nonzero(is_present).unbind(1)
    first_node = task * n_nodes
    links = (first_node + sender, first_node + receiver)
    topology = Topology(n_tasks * n_nodes, is_present.device, edge_index=links)
    return connected_components(topology)
