"""Exact nearest-neighbor search, without a distance matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.errors import InvalidInputError
from graphfew.ops.smallest import smallest
from graphfew.propagation.feature_blocks import (
    check_k,
    compute_dtype,
    drop_self,
    feature_block,
    is_narrow,
)

# Bytes of the distances from a chunk of nodes to all nodes; the search takes about twice as many.
CHUNK_BYTES = 128 * 2**20
# Nodes that are converted to the dtype of computations at a time.
NODES_PER_BLOCK = 16_384


@torch.no_grad()
def exact_search(
    x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find the `k` nearest neighbors of each node by Euclidean distance, exactly.

    Distances are computed from inner products, chunk by chunk. They lose precision if features
    are far from the origin; center such features first. The order of tied neighbors is undefined.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        chunk_size: nodes per matrix product; None to use about 256 MiB.

    Returns:
        Indices, nearest first, and distances, `[N, k]` each.

    Raises:
        InvalidInputError: `k` or `chunk_size` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import exact_search
        >>> exact_search(torch.tensor([[0.0], [1.0], [4.0]]), 1)[0].tolist()
        [[1], [0], [1]]
    """
    if is_narrow(x):
        return _search_narrow(x, k, unit_length=False)
    squares = _squared_lengths(x)

    def distances(rows: slice) -> Tensor:
        return _squared_distances(x[rows], squares[rows], x, squares)

    index, distance = _nearest_others(distances, x, k, chunk_size)
    return index, distance.sqrt_()


@torch.no_grad()
def exact_cosine_search(
    x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find the `k` nearest neighbors of each node by cosine similarity, exactly.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        chunk_size: nodes per matrix product; None to use about 256 MiB.

    Returns:
        Indices, nearest first, and distances `1 - cos`, `[N, k]` each.

    Raises:
        InvalidInputError: `k` or `chunk_size` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import exact_cosine_search
        >>> exact_cosine_search(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]), 1)[0].tolist()
        [[2], [2], [1]]
    """
    if is_narrow(x):
        index, distance = _search_narrow(x, k, unit_length=True)
        return index, distance.square_().div_(2)
    x = F.normalize(x, dim=1)

    def distances(rows: slice) -> Tensor:
        return (x[rows] @ x.T).neg_()

    index, distance = _nearest_others(distances, x, k, chunk_size)
    return index, distance.add_(1)


@torch.no_grad()
def query_neighbors(
    queries: Float[Tensor, "Q F"], x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
    """Find the `k` nodes nearest to each query by Euclidean distance, exactly.

    Args:
        queries: `[Q, F]`, none of them a node of `x`.
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N`.
        chunk_size: queries per matrix product; None to use about 256 MiB.

    Returns:
        Indices into `x`, nearest first, and distances, `[Q, k]` each.

    Raises:
        InvalidInputError: `k` or `chunk_size` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import query_neighbors
        >>> queries, corpus = torch.tensor([[2.0]]), torch.tensor([[0.0], [1.0]])
        >>> index, distance = query_neighbors(queries, corpus, 1)
        >>> index.tolist(), distance.tolist()
        ([[1]], [[1.0]])
    """
    if not 1 <= k <= len(x):
        raise InvalidInputError(
            f"k is {k} and there are {len(x)} nodes; give a k from 1 to {len(x)}"
        )
    if is_narrow(x):
        nearest = nearest_in_blocks(queries, x, k)
        return nearest.index, nearest.squared_distance.clamp_min(0).sqrt()
    step = _rows_per_chunk(chunk_size, x)
    squares, query_squares = _squared_lengths(x), _squared_lengths(queries)
    indices, distances = [], []
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        table = _squared_distances(queries[rows], query_squares[rows], x, squares)
        nearest_distance, nearest_index = smallest(table, k)
        indices.append(nearest_index)
        distances.append(nearest_distance)
    return torch.cat(indices), torch.cat(distances).sqrt_()


def _squared_lengths(rows: Tensor) -> Tensor:
    out: Tensor = torch.linalg.vector_norm(rows, dim=1).square()
    return out


def _squared_distances(rows: Tensor, row_squares: Tensor, x: Tensor, squares: Tensor) -> Tensor:
    """Squared distances of rows to all nodes, with the rounding of `affinity.squared_distances`."""
    out: Tensor = (row_squares[:, None] + squares).sub_(rows @ x.T, alpha=2).clamp_min_(0)
    return out


def _nearest_others(
    distances: Callable[[slice], Tensor], x: Tensor, k: int, chunk_size: int | None
) -> tuple[Tensor, Tensor]:
    """The `k` smallest distances of each node to others; `distances(rows)` is `[rows, N]`."""
    n_nodes = len(x)
    check_k(k, n_nodes)
    step = _rows_per_chunk(chunk_size, x)
    index = x.new_empty(n_nodes, k, dtype=torch.int64)
    distance = x.new_empty(n_nodes, k)
    for start in range(0, n_nodes, step):
        rows = slice(start, min(start + step, n_nodes))
        table = distances(rows)
        table.diagonal(start).fill_(torch.inf)  # the distances to the nodes themselves
        distance[rows], index[rows] = smallest(table, k)
    return index, distance


def _rows_per_chunk(chunk_size: int | None, x: Tensor) -> int:
    if chunk_size is not None and chunk_size < 1:
        raise InvalidInputError(
            f"chunk_size is {chunk_size}; give at least 1 node, or None to use about "
            f"{2 * CHUNK_BYTES} bytes"
        )
    return chunk_size or max(1, CHUNK_BYTES // (len(x) * x.element_size()))


class NearestNodes:
    """The nearest nodes of each query so far, updated block by block.

    Args:
        n_queries: number of queries.
        k: number of nodes.
        like: a tensor with the dtype and device of distances.

    Attributes:
        squared_distance: `[Q, k]`, nearest first.
        index: `[Q, k]`.
    """

    def __init__(self, n_queries: int, k: int, like: Tensor) -> None:
        self.k = k
        self.squared_distance = like.new_full((n_queries, k), torch.inf)
        self.index = torch.full_like(self.squared_distance, -1, dtype=torch.int64)

    def update(
        self, rows: slice | Int[Tensor, " n"], table: Float[Tensor, "n M"], nodes: Int[Tensor, " M"]
    ) -> None:
        """Add the squared distances of some queries to further nodes."""
        values, columns = smallest(table, min(self.k, len(nodes)))
        distance = torch.cat([self.squared_distance[rows], values], 1)
        index = torch.cat([self.index[rows], nodes[columns]], 1)
        best = distance.topk(self.k, dim=1, largest=False)
        self.squared_distance[rows] = best.values
        self.index[rows] = index.gather(1, best.indices)


@torch.no_grad()
def nearest_in_blocks(
    queries: Float[Tensor, "Q F"], x: Float[Tensor, "N F"], k: int, *, unit_length: bool = False
) -> NearestNodes:
    """Find the `k` nodes nearest to each query exactly, without a converted copy of all nodes.

    Args:
        queries: of any floating type.
        x: nodes, of any floating type.
        k: number of nodes, `1 .. N`.
        unit_length: whether nodes and queries count with length 1.

    Returns:
        The nodes.
    """
    nearest = NearestNodes(len(queries), k, queries.new_empty(0, dtype=compute_dtype(x)))
    step = max(1, CHUNK_BYTES // (4 * NODES_PER_BLOCK))
    for node in range(0, len(x), NODES_PER_BLOCK):
        columns = torch.arange(node, min(node + NODES_PER_BLOCK, len(x)), device=x.device)
        points = feature_block(x, columns, unit_length=unit_length)
        squares = _squared_lengths(points)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            block = feature_block(queries, rows, unit_length=unit_length)
            table = _squared_distances(block, _squared_lengths(block), points, squares)
            nearest.update(rows, table, columns)
    return nearest


def _search_narrow(x: Tensor, k: int, *, unit_length: bool) -> tuple[Tensor, Tensor]:
    check_k(k, len(x))
    nearest = nearest_in_blocks(x, x, k + 1, unit_length=unit_length)
    return drop_self(nearest.index, nearest.squared_distance.clamp_min(0).sqrt())
