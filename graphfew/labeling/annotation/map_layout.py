"""Positions of items in the plane, such that neighbors in the kNN graph are close."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.visualization.projection import principal_plane

N_STEPS = 150
N_NEGATIVES = 5
# The curve 1 / (1 + a d^2b) of UMAP's default minimal distance, 0.1.
CURVE_A, CURVE_B = 1.577, 0.895
MAX_STEP = 4.0
EXTENT = 10.0


def layout_items(
    features: NDArray[Any],
    topology: Topology,
    weights: Float[Tensor, "E 1"],
    *,
    n_steps: int = N_STEPS,
    seed: int = 0,
) -> NDArray[Any]:
    """Place items in the plane: edges attract, random pairs repel.

    Args:
        features: `[n, F]`, whose principal plane is the start.
        topology: the kNN graph.
        weights: of its edges, in `[0, 1]`.
        n_steps: number of steps.
        seed: of the random choices.

    Returns:
        `[n, 2]` positions in `[0, 1]`.

    Example:
        >>> import numpy as np
        >>> from graphfew.propagation import sparse_knn_gaussian
        >>> x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
        >>> topology, weights = sparse_knn_gaussian(torch.from_numpy(x), 5)
        >>> layout_items(x, topology, weights, n_steps=5).shape
        (20, 2)

    Source:
        McInnes, Healy, Melville, 2018, UMAP: Uniform Manifold Approximation and Projection.

    Deviations:
        All items move at once. The graph is that of the labels, and the start is the principal
        plane instead of a spectral embedding.
    """
    generator = torch.Generator().manual_seed(seed)
    positions = _start(features, generator)
    chance = (weights[:, 0] / weights.amax().clamp_min(1e-12)).sqrt()
    for step in range(n_steps):
        rate = 1 - step / n_steps
        is_drawn = torch.rand(len(chance), generator=generator) < chance
        senders, receivers = topology.senders[is_drawn], topology.receivers[is_drawn]
        pull = _attraction(positions[receivers] - positions[senders])
        move = torch.zeros_like(positions).index_add_(0, receivers, pull)
        for _ in range(N_NEGATIVES):
            other = torch.randint(len(positions), (len(positions),), generator=generator)
            move += _repulsion(positions - positions[other])
        positions += rate * move.clamp(-MAX_STEP, MAX_STEP) * 0.5
    return _to_unit_square(positions)


def _start(features: NDArray[Any], generator: torch.Generator) -> Tensor:
    plane = torch.from_numpy(principal_plane(features).copy()).float()
    plane = plane / plane.abs().amax().clamp_min(1e-12) * EXTENT
    # Equal items would have the same position, and no direction in which to separate.
    return plane + 1e-2 * torch.randn(plane.shape, generator=generator)


def _attraction(difference: Tensor) -> Tensor:
    squared = difference.square().sum(1, keepdim=True).clamp_min(1e-6)
    powered = CURVE_A * squared.pow(CURVE_B)
    factor = -2 * CURVE_B * powered / squared / (1 + powered)
    return (factor * difference).clamp(-MAX_STEP, MAX_STEP)


def _repulsion(difference: Tensor) -> Tensor:
    squared = difference.square().sum(1, keepdim=True)
    factor = 2 * CURVE_B / ((1e-3 + squared) * (1 + CURVE_A * squared.pow(CURVE_B)))
    return (factor * difference).clamp(-MAX_STEP, MAX_STEP)


def _to_unit_square(positions: Tensor) -> NDArray[Any]:
    # A few items far outside would leave the others in a corner.
    low, high = positions.quantile(0.002, dim=0), positions.quantile(0.998, dim=0)
    scaled = (positions - low) / (high - low).clamp_min(1e-6)
    out: NDArray[Any] = scaled.clamp(0, 1).numpy()
    return out
