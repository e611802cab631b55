"""Affinities of new items to the nodes of a fixed graph: one neighbor search per item."""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.ops.smallest import smallest

TINY = 1e-12
# Distances that differ by this many units of rounding count as equal.
TIE_ROUNDINGS = 16
# Bytes of the distances from a chunk of items to all nodes.
CHUNK_BYTES = 16 * 2**20


@runtime_checkable
class NodeAffinity(Protocol):
    """An affinity to fixed nodes, as a record of tensors."""

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""

    def distances(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q N"]:
        """Compute the distances of queries to all nodes, by which neighbors are found."""

    def magnitudes(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q 1"]:
        """Compute the magnitude of the numbers behind the distances, which sets their rounding."""

    def weights(
        self, distance: Tensor, radius: Float[Tensor, "Q 1"], index: Tensor | None
    ) -> Tensor:
        """Compute affinities from distances.

        Args:
            distance: `[Q, k]` distances to some nodes, or `[Q, N]` to all.
            radius: `[Q, 1]`, the distance of each query to its k-th neighbor.
            index: `[Q, k]` these nodes; None for all.

        Returns:
            As `distance`.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class CosinePowerAffinity:
    """`cosine_power` of queries to fixed nodes.

    Attributes:
        x: nodes `[N, F]` of length 1.
        power: exponent of the cosine.
    """

    x: Float[Tensor, "N F"]
    power: float

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.x)

    def distances(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q N"]:
        """Return the negative cosines."""
        return (F.normalize(queries, dim=1) @ self.x.T).neg_()

    def magnitudes(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q 1"]:
        """Return ones, because cosines are at most 1."""
        return queries.new_ones(len(queries), 1)

    def weights(
        self, distance: Tensor, radius: Float[Tensor, "Q 1"], index: Tensor | None
    ) -> Tensor:
        """Return powers of the cosines."""
        del radius, index
        # Only one direction exists, so the mean of both is half of it.
        return (-distance).clamp_min_(0).pow_(self.power).div_(2)


@dataclasses.dataclass(frozen=True, eq=False)
class SelfTuningAffinity:
    """`self_tuning` of queries to fixed nodes.

    Attributes:
        x: nodes `[N, F]`.
        squares: `[N]` squared lengths of the nodes.
        width: `[N]` distance of each node to its k-th neighbor.
    """

    x: Float[Tensor, "N F"]
    squares: Float[Tensor, " N"]
    width: Float[Tensor, " N"]

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.x)

    def distances(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q N"]:
        """Return squared Euclidean distances."""
        table = torch.addmm(self.squares, queries, self.x.T, alpha=-2)
        return table.add_(_squares(queries)).clamp_min_(0)

    def magnitudes(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q 1"]:
        """Return the largest squared length among a query and all nodes."""
        return torch.maximum(_squares(queries), self.squares.amax())

    def weights(
        self, distance: Tensor, radius: Float[Tensor, "Q 1"], index: Tensor | None
    ) -> Tensor:
        """Return Gaussian affinities with the widths of both ends."""
        width = self.width if index is None else self.width[index]
        widths = (radius.sqrt() * width).clamp_min(TINY)
        return (-distance / widths).exp_()


@dataclasses.dataclass(frozen=True, eq=False)
class AffinityRows:
    """Rows of an affinity matrix for receive-only queries, without an edge between them.

    Attributes:
        affinity: the affinity to the nodes.
        k: number of neighbors of a query.
        ties: nodes as near as the k-th neighbor are neighbors too, as in dense affinities;
            otherwise each query has exactly `k`.

    Example:
        >>> import torch
        >>> from graphfew.propagation.affinity_rows import AffinityRows, CosinePowerAffinity
        >>> rows = AffinityRows(CosinePowerAffinity(torch.eye(2), power=3.0), k=1, ties=False)
        >>> rows.average(torch.tensor([[2.0, 1.0]]), torch.tensor([[5.0], [7.0]]))
        tensor([[5.]])
    """

    affinity: NodeAffinity
    k: int
    ties: bool

    def neighbors(
        self, queries: Float[Tensor, "Q F"]
    ) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
        """Return exactly `k` neighbors of each query and their weights, `[Q, k]` each."""
        indices, weights = [], []
        for part in torch.split(queries, self._chunk_size(queries)):
            distance, index = smallest(self.affinity.distances(part), self.k)
            indices.append(index)
            weights.append(self.affinity.weights(distance, distance[:, -1:], index))
        return torch.cat(indices), torch.cat(weights)

    def average(
        self, queries: Float[Tensor, "Q F"], values: Float[Tensor, "N C"]
    ) -> Float[Tensor, "Q C"]:
        """Average the values of each query's neighbors, weighted by affinity.

        Args:
            queries: `[Q, F]`.
            values: `[N, C]` of the nodes.

        Returns:
            `[Q, C]`; zeros for a query without a neighbor of positive affinity.
        """
        if self.ties:
            chunks = torch.split(queries, self._chunk_size(queries))
            return torch.cat([self._average_with_ties(part, values) for part in chunks])
        index, weights = self.neighbors(queries)
        weights = _normalize_rows(weights)
        return F.embedding_bag(index, values, mode="sum", per_sample_weights=weights)

    def _average_with_ties(self, queries: Tensor, values: Tensor) -> Tensor:
        distance = self.affinity.distances(queries)
        kth = distance.topk(self.k, dim=1, largest=False).values[:, -1:]
        rounding = torch.finfo(distance.dtype).eps * self.affinity.magnitudes(queries)
        is_neighbor = distance <= kth + TIE_ROUNDINGS * rounding
        radius = distance.masked_fill(~is_neighbor, -torch.inf).amax(1, keepdim=True)
        weights = self.affinity.weights(distance, radius, None) * is_neighbor
        return _normalize_rows(weights) @ values

    def _chunk_size(self, queries: Tensor) -> int:
        return max(1, CHUNK_BYTES // (self.affinity.n_nodes * queries.element_size()))


def _normalize_rows(weights: Tensor) -> Tensor:
    total = weights.sum(1, keepdim=True)
    # Rows of small affinities keep their proportions; a row of zeros stays zero.
    return weights / torch.where(total > 0, total, 1)


def _squares(rows: Tensor) -> Tensor:
    out: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True).square()
    return out
