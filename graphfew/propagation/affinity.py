"""How alike the nodes of a task are, `[G, n, n]`, from their features alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch
from graphfew.core.topology import Topology
from graphfew.propagation.neighbors import (
    Search,
    exact_cosine_search,
    exact_search,
    knn,
    query_neighbors,
    union_graph,
)

TINY = 1e-12
ROUNDINGS = 16


def squared_distances(
    a: Float[Tensor, "G n F"], b: Float[Tensor, "G m F"]
) -> Float[Tensor, "G n m"]:
    """`‖a_i - b_j‖²`, by one matrix product per task; never negative."""
    products = torch.bmm(a, b.mT)
    ours, theirs = (torch.linalg.vector_norm(x, dim=2).square() for x in (a, b))
    out: Tensor = (ours[:, :, None] + theirs[:, None] - 2 * products).clamp_min(0)
    return out


def knn_mask(
    distance: Float[Tensor, "G n n"],
    k: int,
    silent: Bool[Tensor, "G n"] | None = None,
    scale: Float[Tensor, "G 1 1"] | float = 1.0,
) -> Bool[Tensor, "G n n"]:
    """Row `i` is true at the `k` nodes nearest to `i`, and at all that are as near as the last of them, itself and
    silent ones not among them; at all others where there are no more.

    `scale` is of the numbers whose rounding `distance` has: nodes are as near as each other within a few roundings of
    it, since products of equal rows differ by that with their place in the matrix on some processors.
    """
    others = distance.shape[2] - 1
    loops = torch.eye(distance.shape[1], dtype=torch.bool, device=distance.device)
    barred = loops if silent is None else loops | silent[:, None]
    far = distance.masked_fill(barred, torch.inf)
    last = far.topk(min(k, others), dim=2, largest=False).values[..., -1:]
    return (far <= last + ROUNDINGS * torch.finfo(distance.dtype).eps * scale) & ~barred


def _heard(weights: Float[Tensor, "G n n"], silent: Tensor | None) -> Float[Tensor, "G n n"]:
    return weights if silent is None else weights.masked_fill(silent[:, None], 0)


def self_tuning(tasks: DenseBatch, k: int = 7) -> Float[Tensor, "G n n"]:
    """`exp(-d_ij² / (σ_i σ_j))` between nodes of which one is among the other's `k` nearest, 0 elsewhere and on itself.

    `σ_i` is node i's distance to the last of its `k` nearest, so the width fits any scale of the features.

    Raises:
        ValueError: `k` below 1.

    Source: Zelnik-Manor, Perona, 2004, Self-Tuning Spectral Clustering.

    Deviations: the graph is the union of the nodes' nearest neighbors (theirs is complete).
    """
    if k < 1:
        raise ValueError(f"k is {k}; a node needs at least 1 neighbor")
    distance = squared_distances(tasks.x, tasks.x)
    near = knn_mask(distance, k, tasks.receive_only, tasks.x.square().sum(2).amax(1)[:, None, None])
    width = distance.masked_fill(~near, 0).amax(2).sqrt()
    scale = (width[:, :, None] * width[:, None]).clamp_min(TINY)
    return _heard((-distance / scale).exp() * (near | near.mT), tasks.receive_only)


def cosine_power(tasks: DenseBatch, k: int = 10, power: float = 3.0) -> Float[Tensor, "G n n"]:
    """`(a_ij + a_ji) / 2`, `a_ij = max(cos(x_i, x_j), 0)^power` for the `k` nodes nearest to i by cosine, else 0.

    Raises:
        ValueError: `k` below 1.

    Source: Lazarou, Stathaki, Avrithis, 2021, Iterative Label Cleaning for Transductive and Semi-Supervised Few-Shot
    Learning.

    Deviations: the mean of both directions (theirs is the sum; a factor that normalization takes away).
    """
    if k < 1:
        raise ValueError(f"k is {k}; a node needs at least 1 neighbor")
    x = F.normalize(tasks.x, dim=2)
    near = torch.bmm(x, x.mT)
    weights = near.clamp_min(0).pow(power) * knn_mask(-near, k, tasks.receive_only)
    return _heard((weights + weights.mT) / 2, tasks.receive_only)


def sparse_self_tuning(
    x: Float[Tensor, "N F"], k: int = 7, *, search: Search = exact_search
) -> tuple[Topology, Tensor]:
    """`self_tuning` of one task of many nodes: the edges that are not 0, and their weights `[E, 1]`; no gradient flows.

    Args:
        x: nodes `[N, F]`.
        k: neighbors of each.
        search: gives them with their Euclidean distances, see `graphfew.propagation.knn`.

    Raises:
        ValueError: `k` below 1, fewer than two nodes, or a search that does not answer as it must.

    Source: Zelnik-Manor, Perona, 2004, Self-Tuning Spectral Clustering.

    Deviations: those of `self_tuning`; of nodes as near as the last neighbor only `k` in all are taken.
    """
    near = knn(x, min(k, len(x) - 1), search=search)
    width = near.distance.amax(1)
    scale = (width[:, None] * width[near.index]).clamp_min(TINY)
    return union_graph(near.topology, (-near.distance.square() / scale).exp().view(-1, 1))


def sparse_cosine_power(
    x: Float[Tensor, "N F"],
    k: int = 10,
    power: float = 3.0,
    *,
    search: Search = exact_cosine_search,
) -> tuple[Topology, Tensor]:
    """`cosine_power` of one task of many nodes: the edges between neighbors, and their weights `[E, 1]`; no gradient
    flows.

    Args:
        x: nodes `[N, F]`.
        k: neighbors of each.
        power: of the cosine.
        search: gives them with `1 - cos`, see `graphfew.propagation.knn`.

    Raises:
        ValueError: `k` below 1, fewer than two nodes, or a search that does not answer as it must.

    Source: Lazarou, Stathaki, Avrithis, 2021, Iterative Label Cleaning for Transductive and Semi-Supervised Few-Shot
    Learning.

    Deviations: those of `cosine_power`; of nodes as near as the last neighbor only `k` in all are taken.
    """
    near = knn(x, min(k, len(x) - 1), search=search)
    weights = (1 - near.distance).clamp_min(0).pow(power).view(-1, 1)
    return union_graph(near.topology, weights, lambda there, back: (there + back) / 2)


def self_tuning_to_queries(
    queries: Float[Tensor, "Q F"], x: Float[Tensor, "N F"], k: int = 7
) -> tuple[Tensor, Tensor]:
    """The rows of `self_tuning` of queries that are silent: the nodes that each hears, and the weights, `[Q, k]`."""
    index, distance = query_neighbors(queries, x, min(k, len(x)))
    heard, place = torch.unique(index, return_inverse=True)
    # A node is the nearest to itself, so the k-th of the others is the last of k + 1.
    width = query_neighbors(x[heard], x, min(k + 1, len(x)))[1][:, -1]
    scale = (distance[:, -1:] * width[place]).clamp_min(TINY)
    return index, (-distance.square() / scale).exp()


def cosine_power_to_queries(
    queries: Float[Tensor, "Q F"], x: Float[Tensor, "N F"], k: int = 10, power: float = 3.0
) -> tuple[Tensor, Tensor]:
    """The rows of `cosine_power` of queries that are silent: the nodes that each hears, and the weights, `[Q, k]`."""
    index, distance = query_neighbors(
        F.normalize(queries, dim=1), F.normalize(x, dim=1), min(k, len(x))
    )
    return index, (1 - distance.square() / 2).clamp_min(0).pow(power) / 2


@dataclasses.dataclass(frozen=True)
class SparseAffinity:
    """An affinity of one task of many nodes.

    Attributes:
        graph: nodes `[N, F]` to the edges that are not 0 and their weights `[E, 1]`.
        towards: silent queries and nodes to what each query hears, indices and weights `[Q, k]`.
    """

    graph: Callable[[Tensor], tuple[Topology, Tensor]]
    towards: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


SPARSE_AFFINITIES: Mapping[Callable[..., Tensor], SparseAffinity] = MappingProxyType(
    {
        self_tuning: SparseAffinity(sparse_self_tuning, self_tuning_to_queries),
        cosine_power: SparseAffinity(sparse_cosine_power, cosine_power_to_queries),
    }
)


def symmetric_normalize(weights: Float[Tensor, "G n n"]) -> Float[Tensor, "G n n"]:
    """`D^-½ W D^-½`, D the sums of rows; rows without mass stay zero."""
    degree = weights.sum(2).clamp_min(TINY).rsqrt()
    return degree[:, :, None] * weights * degree[:, None]
