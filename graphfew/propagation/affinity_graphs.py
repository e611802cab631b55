"""Affinity graphs of one context, with the rows of queries that come later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.topology import Topology
from graphfew.propagation.affinity import (
    cosine_power,
    knn_mask,
    self_tuning,
    self_tuning_edges,
    sparse_cosine_power,
    squared_distances,
)
from graphfew.propagation.affinity_rows import (
    AffinityRows,
    CosinePowerAffinity,
    SelfTuningAffinity,
)
from graphfew.propagation.knn_gaussian import (
    KnnGaussianAffinity,
    knn_gaussian,
    sparse_knn_gaussian,
)
from graphfew.propagation.neighbors import knn


@dataclasses.dataclass(frozen=True, eq=False)
class AffinityGraph:
    """The affinity graph of one task, and the affinities of later queries to its nodes.

    Attributes:
        topology: the edges that are not 0.
        weights: `[E, 1]`.
        rows: rows of the affinity matrix for receive-only queries.
    """

    topology: Topology
    weights: Float[Tensor, "E 1"]
    rows: AffinityRows


def self_tuning_graph(x: Float[Tensor, "N F"], k: int = 7) -> AffinityGraph:
    """Build the sparse graph of `self_tuning` for the nodes of one task and later queries.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.

    Returns:
        The graph.
    """
    neighbors = knn(x, min(k, len(x) - 1))
    topology, weights = self_tuning_edges(neighbors)
    affinity = SelfTuningAffinity(x, _squared_lengths(x), neighbors.distance.amax(1))
    return AffinityGraph(topology, weights, AffinityRows(affinity, min(k, len(x)), ties=False))


def cosine_power_graph(x: Float[Tensor, "N F"], k: int = 10, power: float = 3.0) -> AffinityGraph:
    """Build the sparse graph of `cosine_power` for the nodes of one task and later queries.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.
        power: exponent of the cosine.

    Returns:
        The graph.
    """
    topology, weights = sparse_cosine_power(x, k, power)
    affinity = CosinePowerAffinity(F.normalize(x, dim=1), power)
    return AffinityGraph(topology, weights, AffinityRows(affinity, min(k, len(x)), ties=False))


def knn_gaussian_graph(x: Float[Tensor, "N F"], k: int = 10) -> AffinityGraph:
    """Build the sparse graph of `knn_gaussian` for the nodes of one task and later queries.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.

    Returns:
        The graph.
    """
    topology, weights = sparse_knn_gaussian(x, k)
    affinity = KnnGaussianAffinity(x, _squared_lengths(x))
    return AffinityGraph(topology, weights, AffinityRows(affinity, min(k, len(x)), ties=False))


def self_tuning_rows(x: Float[Tensor, "N F"], k: int = 7) -> AffinityRows:
    """Build the rows of the dense `self_tuning` for later queries.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.

    Returns:
        The rows; ties count as neighbors.
    """
    distance = squared_distances(x[None], x[None])
    is_neighbor = knn_mask(distance, k, scale=float(_squared_lengths(x).amax()))
    width = distance.masked_fill(~is_neighbor, 0).amax(2).sqrt()[0]
    affinity = SelfTuningAffinity(x, _squared_lengths(x), width)
    return AffinityRows(affinity, min(k, len(x)), ties=True)


def cosine_power_rows(x: Float[Tensor, "N F"], k: int = 10, power: float = 3.0) -> AffinityRows:
    """Build the rows of the dense `cosine_power` for later queries.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.
        power: exponent of the cosine.

    Returns:
        The rows; ties count as neighbors.
    """
    return AffinityRows(
        CosinePowerAffinity(F.normalize(x, dim=1), power), min(k, len(x)), ties=True
    )


def knn_gaussian_rows(x: Float[Tensor, "N F"], k: int = 10) -> AffinityRows:
    """Build the rows of the dense `knn_gaussian` for later queries.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.

    Returns:
        The rows; ties count as neighbors.
    """
    return AffinityRows(KnnGaussianAffinity(x, _squared_lengths(x)), min(k, len(x)), ties=True)


@dataclasses.dataclass(frozen=True)
class FittedAffinity:
    """Other forms of a dense affinity, for one task without its receive-only queries.

    Attributes:
        graph: from nodes `[N, F]` to their sparse graph, for many nodes.
        rows: from nodes `[N, F]` to the rows of later queries, for few nodes.
    """

    graph: Callable[[Tensor], AffinityGraph]
    rows: Callable[[Tensor], AffinityRows]


# By the dense affinity that a method takes as an argument.
FITTED_AFFINITIES: Mapping[Callable[..., Tensor], FittedAffinity] = MappingProxyType(
    {
        self_tuning: FittedAffinity(self_tuning_graph, self_tuning_rows),
        cosine_power: FittedAffinity(cosine_power_graph, cosine_power_rows),
        knn_gaussian: FittedAffinity(knn_gaussian_graph, knn_gaussian_rows),
    }
)


def _squared_lengths(rows: Tensor) -> Tensor:
    out: Tensor = torch.linalg.vector_norm(rows, dim=1).square()
    return out
