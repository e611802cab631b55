"""Diffusion of features on a graph: each node moves toward the mean of its neighborhood."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.propagation.solvers import TINY, sparse_matmul

# Columns that are diffused at a time, so that large graphs need little memory.
COLUMNS = 64


@torch.no_grad()
def diffuse_features(
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    x: Float[Tensor, "N F"],
    alpha: float = 0.9,
    steps: int = 30,
) -> Float[Tensor, "N F"]:
    """Diffuse features on a sparse graph, without gradients.

    Formula:
        Z_0 = X,  Z_{t+1} = α D⁻¹ W Z_t + (1 - α) X

    Args:
        topology: the graph.
        weights: W, `[E, 1]`, not negative.
        x: X, `[N, F]`.
        alpha: weight of the neighbors, in `[0, 1)`.
        steps: number of steps.

    Returns:
        `Z_steps`, `[N, F]`.

    Raises:
        InvalidInputError: alpha is outside `[0, 1)`, or steps is below 1.

    Example:
        >>> import torch
        >>> from graphfew.propagation import diffuse_features, sparse_knn_gaussian
        >>> x = torch.tensor([[0.0], [1.0], [8.0], [9.0]])
        >>> diffuse_features(*sparse_knn_gaussian(x, k=1), x).round(decimals=1).flatten().tolist()
        [0.5, 0.5, 8.5, 8.5]

    Source:
        Wu, Souza, Zhang, Fifty, Yu, Weinberger, 2019, Simplifying Graph Convolutional Networks
        (diffused features); Klicpera, Bojchevski, Günnemann, 2019, Predict then Propagate: Graph
        Neural Networks meet Personalized PageRank (the teleport to X).

    Deviations:
        Features are diffused instead of predictions, with a transition matrix normalized by rows.
    """
    if not 0 <= alpha < 1 or steps < 1:
        raise InvalidInputError(
            f"alpha is {alpha} and steps {steps}; alpha must be in [0, 1) and steps at least 1"
        )
    transition = row_normalize(topology, weights) * alpha
    diffused = torch.empty_like(x)
    for first in range(0, x.shape[1], COLUMNS):
        columns = slice(first, first + COLUMNS)
        start = x[:, columns].to(transition.dtype).contiguous()
        current = start
        for _ in range(steps):
            current = sparse_matmul(topology, transition, current).add_(start, alpha=1 - alpha)
        diffused[:, columns] = current
    return diffused


def row_normalize(topology: Topology, weights: Float[Tensor, "E 1"]) -> Float[Tensor, "E 1"]:
    """Divide the weights by the sum of the weights into their receiver.

    Args:
        topology: the graph.
        weights: `[E, 1]`, not negative.

    Returns:
        `[E, 1]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_knn_gaussian
        >>> from graphfew.propagation.diffusion import row_normalize
        >>> topology, weights = sparse_knn_gaussian(torch.tensor([[0.0], [1.0], [2.0]]), k=2)
        >>> topology.sum(row_normalize(topology, weights)).flatten().tolist()
        [1.0, 1.0, 1.0]
    """
    degree = topology.sum(weights).clamp_min(TINY)
    return weights / degree[topology.receivers]
