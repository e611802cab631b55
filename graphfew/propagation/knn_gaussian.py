"""The kNN graph of Poisson learning: Gaussian weights with the width of the receiving node."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.dense_batch import DenseBatch
from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.propagation.affinity import knn_mask, squared_distances
from graphfew.propagation.affinity_rows import TIE_ROUNDINGS
from graphfew.propagation.feature_blocks import ROWS_PER_CHECK, feature_block
from graphfew.propagation.neighbors import Search, knn
from graphfew.propagation.search_choice import auto_search
from graphfew.propagation.undirected_graph import union_graph

# The weight of the k-th neighbor is exp(-DECAY).
DECAY = 4.0


def knn_gaussian(tasks: DenseBatch, k: int = 10) -> Float[Tensor, "G n n"]:
    """Compute Gaussian affinities on the kNN graph, and average both directions.

    Nodes that are equal up to rounding have the weight 1.

    Formula:
        W_ij = (a_ij + a_ji) / 2
        a_ij = exp(-4 ‖x_i - x_j‖² / σ_i²) if j is among the k nearest of i, else 0
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
        >>> from graphfew.propagation import knn_gaussian
        >>> x, query = torch.tensor([[[0.0], [1.0], [4.0]]]), torch.zeros(1, 3, dtype=torch.bool)
        >>> knn_gaussian(DenseBatch(x, torch.zeros(1, 3, 2), query), k=1).gt(0).int()[0].tolist()
        [[0, 1, 0], [1, 0, 1], [0, 1, 0]]

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        Equal neighbors at rank k are all included.
    """
    if k < 1:
        raise InvalidInputError(f"k is {k}; a node needs at least 1 neighbor")
    distance = squared_distances(tasks.x, tasks.x)
    scale = tasks.x.square().sum(2).amax(1)[:, None, None]
    is_neighbor = knn_mask(distance, k, tasks.receive_only, scale)
    width = distance.masked_fill(~is_neighbor, 0).amax(2, keepdim=True)
    weights = gaussian_weights(distance, width, largest_rounding(scale)) * is_neighbor
    weights = (weights + weights.mT) / 2
    if tasks.receive_only is None:
        return weights
    return weights.masked_fill(tasks.receive_only[:, None], 0)


def sparse_knn_gaussian(
    x: Float[Tensor, "N F"], k: int = 10, *, search: Search = auto_search
) -> tuple[Topology, Tensor]:
    """Compute `knn_gaussian` of one large task as a sparse graph, without gradients.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors; all other nodes if there are no more.
        search: finds the neighbors with their Euclidean distances, see `knn`.

    Returns:
        The topology of the kNN graph's edges in both directions, and their weights `[E, 1]`.

    Raises:
        InvalidInputError: `k` is below 1, there are fewer than two nodes, or the search returns
            an invalid result.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_knn_gaussian
        >>> topology, weights = sparse_knn_gaussian(torch.tensor([[0.0], [1.0], [4.0]]), k=1)
        >>> topology.senders.tolist(), topology.receivers.tolist()
        ([1, 0, 2, 1], [0, 1, 1, 2])

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        The search is approximate for more than 30,000 nodes by default. Nodes that are equal up to
        rounding have the weight 1.
    """
    neighbors = knn(x, min(k, len(x) - 1), search=search)
    distance = neighbors.distance.square()
    width = distance.amax(1, keepdim=True)
    weights = gaussian_weights(distance, width, largest_rounding(_largest_square(x)))
    return union_graph(neighbors.topology, weights.view(-1, 1), _mean)


@dataclasses.dataclass(frozen=True, eq=False)
class KnnGaussianAffinity:
    """`knn_gaussian` of queries to fixed nodes.

    Attributes:
        x: nodes `[N, F]`.
        squares: `[N]` squared lengths of the nodes.
    """

    x: Float[Tensor, "N F"]
    squares: Float[Tensor, " N"]

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.x)

    def distances(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q N"]:
        """Return squared Euclidean distances."""
        table = torch.addmm(self.squares, queries, self.x.T, alpha=-2)
        return table.add_(queries.square().sum(1, keepdim=True)).clamp_min_(0)

    def magnitudes(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q 1"]:
        """Return the largest squared length among a query and all nodes."""
        return torch.maximum(queries.square().sum(1, keepdim=True), self.squares.amax())

    def weights(
        self, distance: Tensor, radius: Float[Tensor, "Q 1"], index: Tensor | None
    ) -> Tensor:
        """Return Gaussian affinities with the width of the query."""
        del index
        # Only one direction exists, so the mean of both is half of it.
        return gaussian_weights(distance, radius, largest_rounding(self.squares.amax())) / 2


def _largest_square(x: Tensor) -> Tensor:
    """The largest squared length, from blocks of rows: features may be float16 and many."""
    largest = [
        torch.linalg.vector_norm(
            feature_block(x, slice(start, start + ROWS_PER_CHECK)), dim=1
        ).amax()
        for start in range(0, len(x), ROWS_PER_CHECK)
    ]
    return torch.stack(largest).amax().square()


def largest_rounding(scale: Tensor) -> Tensor:
    """Return the largest squared distance of equal nodes whose largest squared length is `scale`."""
    return TIE_ROUNDINGS * torch.finfo(scale.dtype).eps * scale


def gaussian_weights(distance: Tensor, width: Tensor, rounding: Tensor) -> Tensor:
    """Compute Gaussians of squared distances and widths; 0 / 0 of equal nodes counts as 0."""
    tiny = torch.finfo(distance.dtype).tiny
    distance = distance.masked_fill(distance <= rounding, 0)
    width = width.maximum(rounding).clamp_min(tiny)
    return (-DECAY * distance / width).exp()


def _mean(forward: Tensor, backward: Tensor) -> Tensor:
    return (forward + backward) / 2
