"""Affinities: non-negative edge weights from the similarity of features, dense and sparse."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch
from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.propagation.affinity_rows import TIE_ROUNDINGS
from graphfew.propagation.neighbors import Neighbors, Search, knn
from graphfew.propagation.search_choice import auto_cosine_search, auto_search
from graphfew.propagation.undirected_graph import union_graph

TINY = 1e-12


def squared_distances(
    a: Float[Tensor, "G n F"], b: Float[Tensor, "G m F"]
) -> Float[Tensor, "G n m"]:
    """Compute squared Euclidean distances by one matrix product per task.

    Args:
        a: `[G, n, F]`.
        b: `[G, m, F]`.

    Returns:
        `‖a_i - b_j‖²`, `[G, n, m]`; never negative.

    Example:
        >>> import torch
        >>> from graphfew.propagation import squared_distances
        >>> squared_distances(torch.tensor([[[0.0], [3.0]]]), torch.tensor([[[1.0]]])).tolist()
        [[[1.0], [4.0]]]
    """
    products = torch.bmm(a, b.mT)
    a_squares = torch.linalg.vector_norm(a, dim=2).square()
    b_squares = torch.linalg.vector_norm(b, dim=2).square()
    out: Tensor = (a_squares[:, :, None] + b_squares[:, None] - 2 * products).clamp_min(0)
    return out


def knn_mask(
    distance: Float[Tensor, "G n n"],
    k: int,
    receive_only: Bool[Tensor, "G n"] | None = None,
    scale: Float[Tensor, "G 1 1"] | float = 1.0,
) -> Bool[Tensor, "G n n"]:
    """Mark the `k` nearest neighbors of each node, ties included.

    Equal rows of features can get products that differ by rounding, depending on their position
    in the matrix. Neighbors therefore count as tied within a few units of rounding, so that the
    mask does not depend on the order of the nodes.

    Args:
        distance: `[G, n, n]`; any increasing function of the distance.
        k: number of neighbors; all other nodes if there are no more.
        receive_only: `[G, n]`; nodes that are never neighbors of others. None if all nodes send.
        scale: magnitude of the numbers that `distance` was computed from, which sets its rounding.

    Returns:
        `[G, n, n]` bool, row = receiver; false on the diagonal.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn_mask
        >>> knn_mask(torch.tensor([[[0.0, 1.0, 4.0], [1.0, 0.0, 9.0], [4.0, 9.0, 0.0]]]), 1).int()
        tensor([[[0, 1, 0],
                 [1, 0, 0],
                 [1, 0, 0]]], dtype=torch.int32)
    """
    max_neighbors = distance.shape[2] - 1
    excluded = torch.eye(distance.shape[1], dtype=torch.bool, device=distance.device)
    if receive_only is not None:
        excluded = excluded | receive_only[:, None]
    candidates = distance.masked_fill(excluded, torch.inf)
    kth = candidates.topk(min(k, max_neighbors), dim=2, largest=False).values[..., -1:]
    tolerance = TIE_ROUNDINGS * torch.finfo(distance.dtype).eps * scale
    return (candidates <= kth + tolerance) & ~excluded


def _mask_senders(
    weights: Float[Tensor, "G n n"], receive_only: Tensor | None
) -> Float[Tensor, "G n n"]:
    """Set the columns of receive-only nodes to 0."""
    return weights if receive_only is None else weights.masked_fill(receive_only[:, None], 0)


def self_tuning(tasks: DenseBatch, k: int = 7) -> Float[Tensor, "G n n"]:
    """Compute Gaussian affinities with a width per node, on the union of the kNN graphs.

    Formula:
        W_ij = exp(-‖x_i - x_j‖² / (σ_i σ_j)) if i or j is among the other's k nearest, else 0
        σ_i = distance of node i to its k-th neighbor

    Args:
        tasks: tasks with nodes `[G, n, F]`. Receive-only nodes have no outgoing edges.
        k: number of neighbors.

    Returns:
        `[G, n, n]`, row = receiver; 0 on the diagonal.

    Raises:
        InvalidInputError: `k` is below 1.

    Example:
        >>> import torch
        >>> from graphfew.core.dense_batch import DenseBatch
        >>> from graphfew.propagation import self_tuning
        >>> x, query = torch.tensor([[[0.0], [1.0], [4.0]]]), torch.zeros(1, 3, dtype=torch.bool)
        >>> self_tuning(DenseBatch(x, torch.zeros(1, 3, 2), query), k=1).gt(0).int()[0].tolist()
        [[0, 1, 0], [1, 0, 1], [0, 1, 0]]

    Source:
        Zelnik-Manor, Perona, 2004, Self-Tuning Spectral Clustering.

    Deviations:
        The graph is the union of the kNN graphs (the paper's is complete).
    """
    _check_k(k)
    distance = squared_distances(tasks.x, tasks.x)
    # Rounding of ‖a‖² + ‖b‖² - 2 a·b grows with ‖x‖², so ties are judged relative to it.
    scale = tasks.x.square().sum(2).amax(1)[:, None, None]
    is_neighbor = knn_mask(distance, k, tasks.receive_only, scale)
    width = distance.masked_fill(~is_neighbor, 0).amax(2).sqrt()
    widths = (width[:, :, None] * width[:, None]).clamp_min(TINY)
    weights = (-distance / widths).exp() * (is_neighbor | is_neighbor.mT)
    return _mask_senders(weights, tasks.receive_only)


def cosine_power(tasks: DenseBatch, k: int = 10, power: float = 3.0) -> Float[Tensor, "G n n"]:
    """Compute powers of cosine similarities on the symmetrized kNN graph.

    Formula:
        W_ij = (a_ij + a_ji) / 2
        a_ij = max(cos(x_i, x_j), 0)^power if j is among the k nearest of i by cosine, else 0

    Args:
        tasks: tasks with nodes `[G, n, F]`. Receive-only nodes have no outgoing edges.
        k: number of neighbors.
        power: exponent of the cosine.

    Returns:
        `[G, n, n]`, row = receiver; 0 on the diagonal.

    Raises:
        InvalidInputError: `k` is below 1.

    Example:
        >>> import torch
        >>> from graphfew.core.dense_batch import DenseBatch
        >>> from graphfew.propagation import cosine_power
        >>> x = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])
        >>> query = torch.zeros(1, 3, dtype=torch.bool)
        >>> cosine_power(DenseBatch(x, torch.zeros(1, 3, 2), query), k=1)[0, 0].tolist()
        [0.0, 1.0, 0.0]

    Source:
        Lazarou, Stathaki, Avrithis, 2021, Iterative Label Cleaning for Transductive and
        Semi-Supervised Few-Shot Learning.

    Deviations:
        The mean of both directions (the paper's sum; normalization removes the factor).
    """
    _check_k(k)
    x = F.normalize(tasks.x, dim=2)
    similarity = torch.bmm(x, x.mT)
    # Cosines are at most 1, so ties need no other scale.
    is_neighbor = knn_mask(-similarity, k, tasks.receive_only)
    weights = similarity.clamp_min(0).pow(power) * is_neighbor
    return _mask_senders((weights + weights.mT) / 2, tasks.receive_only)


def sparse_self_tuning(
    x: Float[Tensor, "N F"], k: int = 7, *, search: Search = auto_search
) -> tuple[Topology, Tensor]:
    """Compute `self_tuning` of one large task as a sparse graph, without gradients.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.
        search: finds the neighbors with their Euclidean distances, see `knn`.

    Returns:
        The topology of the edges that are not 0, and their weights `[E, 1]`.

    Raises:
        InvalidInputError: `k` is below 1, there are fewer than two nodes, or the search returns
            an invalid result.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_self_tuning
        >>> topology, weights = sparse_self_tuning(torch.tensor([[0.0], [1.0], [4.0]]), k=1)
        >>> topology.senders.tolist(), topology.receivers.tolist()
        ([1, 0, 2, 1], [0, 1, 1, 2])

    Source:
        Zelnik-Manor, Perona, 2004, Self-Tuning Spectral Clustering.

    Deviations:
        Those of `self_tuning`; of tied neighbors only `k` in total are used.
    """
    return self_tuning_edges(knn(x, min(k, len(x) - 1), search=search))


def self_tuning_edges(neighbors: Neighbors) -> tuple[Topology, Float[Tensor, "E 1"]]:
    """Compute the sparse graph of `self_tuning` from the neighbors by Euclidean distance."""
    width = neighbors.distance.amax(1)
    widths = (width[:, None] * width[neighbors.index]).clamp_min(TINY)
    weights = (-neighbors.distance.square() / widths).exp().view(-1, 1)
    return union_graph(neighbors.topology, weights)


def sparse_cosine_power(
    x: Float[Tensor, "N F"],
    k: int = 10,
    power: float = 3.0,
    *,
    search: Search = auto_cosine_search,
) -> tuple[Topology, Tensor]:
    """Compute `cosine_power` of one large task as a sparse graph, without gradients.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors.
        power: exponent of the cosine.
        search: finds the neighbors with `1 - cos` as distance, see `knn`.

    Returns:
        The topology of the kNN graph's edges in both directions, and their weights `[E, 1]`.

    Raises:
        InvalidInputError: `k` is below 1, there are fewer than two nodes, or the search returns
            an invalid result.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_cosine_power
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> topology, weights = sparse_cosine_power(x, k=2)
        >>> weights[:, 0].tolist()
        [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]

    Source:
        Lazarou, Stathaki, Avrithis, 2021, Iterative Label Cleaning for Transductive and
        Semi-Supervised Few-Shot Learning.

    Deviations:
        Those of `cosine_power`; of tied neighbors only `k` in total are used.
    """
    neighbors = knn(x, min(k, len(x) - 1), search=search)
    # Cosine searches return 1 - cosine.
    weights = (1 - neighbors.distance).clamp_min(0).pow(power).view(-1, 1)
    return union_graph(neighbors.topology, weights, _mean)


def _mean(forward: Tensor, backward: Tensor) -> Tensor:
    return (forward + backward) / 2


def symmetric_normalize(weights: Float[Tensor, "G n n"]) -> Float[Tensor, "G n n"]:
    """Normalize affinities by the degrees of both ends.

    Formula:
        S = D^-½ W D^-½,  D the sums of the rows of W

    Args:
        weights: W, `[G, n, n]`, not negative.

    Returns:
        S, `[G, n, n]`; rows of isolated nodes stay zero.

    Example:
        >>> import torch
        >>> from graphfew.propagation import symmetric_normalize
        >>> symmetric_normalize(torch.tensor([[[0.0, 4.0], [4.0, 0.0]]])).tolist()
        [[[0.0, 1.0], [1.0, 0.0]]]
    """
    inverse_root = weights.sum(2).clamp_min(TINY).rsqrt()
    return inverse_root[:, :, None] * weights * inverse_root[:, None]


def _check_k(k: int) -> None:
    if k < 1:
        raise InvalidInputError(f"k is {k}; a node needs at least 1 neighbor")
