"""Symmetric neighbor graphs whose rows are distributed over workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew.dask.neighbor_shards import (
    BuildIndex,
    CosineIndex,
    ExactIndex,
    FeatureShards,
    array_bytes,
    as_tensor,
    knn_shards,
)
from graphfew.dask.parquet_partitions import Array
from graphfew.ops.sparse_rows import sum_weighted_rows
from graphfew.propagation.affinity import TINY
from graphfew.propagation.knn_gaussian import gaussian_weights, largest_rounding

# From the values of i <- j and of j <- i to the weight of both; a missing edge has the value 0.
CombineValues = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True, eq=False)
class RowBlock:
    """Some rows of a sparse matrix (CSR).

    Attributes:
        ptr: `[n + 1]`; the entries of row `i` are `ptr[i] .. ptr[i + 1]`.
        senders: `[E]` columns, which count through all blocks.
        weights: `[E]`.

    Example:
        >>> rows = RowBlock(np.array([0, 1, 3]), np.array([1, 0, 2]), np.ones(3, dtype=np.float32))
        >>> rows.row_sums().tolist()
        [1.0, 2.0]
    """

    ptr: NDArray[np.int64]
    senders: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __sizeof__(self) -> int:
        # Dask moves tasks to large values instead of large values to tasks.
        return array_bytes(self.ptr, self.senders, self.weights)

    @property
    def receivers(self) -> NDArray[np.int64]:
        """`[E]` rows, which count from the first row of the block."""
        return np.repeat(np.arange(len(self.ptr) - 1), np.diff(self.ptr))

    def row_sums(self) -> Array:
        """Sum the entries of each row, `[n]`."""
        sums = np.bincount(self.receivers, self.weights, minlength=len(self.ptr) - 1)
        return sums.astype(self.weights.dtype)

    def matmul(self, x: Array) -> Array:
        """Multiply with a matrix `[N, C]`, which gives `[n, C]`."""
        out = sum_weighted_rows(
            as_tensor(x), as_tensor(self.senders), as_tensor(self.ptr), as_tensor(self.weights)
        )
        product: Array = out.numpy()
        return product

    def select(self, mask: NDArray[np.bool_]) -> RowBlock:
        """Keep the entries of a mask `[E]`."""
        counts = np.bincount(self.receivers[mask], minlength=len(self.ptr) - 1)
        ptr = np.concatenate([[0], counts.cumsum()])
        return RowBlock(ptr, self.senders[mask], self.weights[mask])


@dataclasses.dataclass(frozen=True, eq=False)
class GraphShards:
    """The rows of a symmetric graph's weights in blocks on the workers.

    Attributes:
        blocks: futures of `RowBlock`.
        sizes: number of rows of each block.

    Example:
        >>> from graphfew.dask import GraphShards
        >>> GraphShards((), (3, 2)).n_items
        5
    """

    blocks: tuple[Any, ...]
    sizes: tuple[int, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """First row of each block, and the number of all rows at the end."""
        return (0, *(int(end) for end in np.cumsum(self.sizes)))

    @property
    def n_items(self) -> int:
        """Number of rows of all blocks."""
        return sum(self.sizes)


def knn_gaussian_shards(
    client: Any, shards: FeatureShards, k: int = 10, *, build_index: BuildIndex = ExactIndex
) -> GraphShards:
    """Build the graph of `graphfew.propagation.sparse_knn_gaussian` in shards.

    Args:
        client: of Dask.
        shards: the items.
        k: number of neighbors; all other items if there are no more.
        build_index: see `knn_shards`.

    Returns:
        The graph; with exact search that of one process, up to rounding and ties.

    Raises:
        InvalidInputError: there are fewer than two items, or `k` is below 1.

    Example:
        >>> from graphfew.dask import knn_gaussian_shards
        >>> knn_gaussian_shards(client, shards).n_items  # doctest: +SKIP
        200000
    """
    neighbors = knn_shards(client, shards, min(k, shards.n_items - 1), build_index=build_index)
    lengths = client.gather([client.submit(_largest_length, block) for block in shards.blocks])
    largest = max(lengths)
    values = [client.submit(_gaussian_values, part, largest) for part in neighbors]
    return _symmetric(client, shards, neighbors, values, _mean)


def cosine_power_shards(
    client: Any,
    shards: FeatureShards,
    k: int = 10,
    power: float = 3.0,
    *,
    build_index: BuildIndex = CosineIndex,
) -> GraphShards:
    """Build the graph of `graphfew.propagation.sparse_cosine_power` in shards.

    Args:
        client: of Dask.
        shards: the items.
        k: number of neighbors; all other items if there are no more.
        power: exponent of the cosine.
        build_index: see `knn_shards`; distances must be `1 - cos`.

    Returns:
        The graph; with exact search that of one process, up to rounding and ties.

    Raises:
        InvalidInputError: there are fewer than two items, or `k` is below 1.

    Example:
        >>> from graphfew.dask import cosine_power_shards
        >>> cosine_power_shards(client, shards).n_items  # doctest: +SKIP
        200000
    """
    neighbors = knn_shards(client, shards, min(k, shards.n_items - 1), build_index=build_index)
    values = [client.submit(_cosine_values, part, power) for part in neighbors]
    return _symmetric(client, shards, neighbors, values, _mean)


def self_tuning_shards(
    client: Any, shards: FeatureShards, k: int = 7, *, build_index: BuildIndex = ExactIndex
) -> GraphShards:
    """Build the graph of `graphfew.propagation.sparse_self_tuning` in shards.

    Args:
        client: of Dask.
        shards: the items.
        k: number of neighbors; all other items if there are no more.
        build_index: see `knn_shards`.

    Returns:
        The graph; with exact search that of one process, up to rounding and ties.

    Raises:
        InvalidInputError: there are fewer than two items, or `k` is below 1.

    Example:
        >>> from graphfew.dask import self_tuning_shards
        >>> self_tuning_shards(client, shards).n_items  # doctest: +SKIP
        200000
    """
    neighbors = knn_shards(client, shards, min(k, shards.n_items - 1), build_index=build_index)
    # A weight depends on the widths of both ends, so every worker gets all widths: one number per
    # item.
    widths = [client.submit(_widths, part) for part in neighbors]
    values = [
        client.submit(_self_tuning_values, part, own, widths)
        for part, own in zip(neighbors, widths, strict=True)
    ]
    return _symmetric(client, shards, neighbors, values, np.maximum)


def _symmetric(
    client: Any,
    shards: FeatureShards,
    neighbors: Sequence[Any],
    values: Sequence[Any],
    combine: CombineValues,
) -> GraphShards:
    """The union of both directions, where each block gets the edges that point to its rows."""
    offsets = shards.offsets
    reversed_edges = []
    for part, value, offset in zip(neighbors, values, offsets, strict=False):
        split = client.submit(_split_reversed, part, value, offset, offsets)
        # One future per target, so that a worker receives only the edges of its own rows.
        reversed_edges.append(
            [client.submit(_take, split, target) for target in range(len(shards.sizes))]
        )
    blocks = []
    for target, (part, value) in enumerate(zip(neighbors, values, strict=True)):
        incoming = [edges[target] for edges in reversed_edges]
        blocks.append(client.submit(_assemble, part, value, incoming, shards.n_items, combine))
    return GraphShards(tuple(blocks), shards.sizes)


def _split_reversed(
    neighbors: tuple[Array, Array], values: Array, offset: int, offsets: Sequence[int]
) -> list[tuple[Array, Array, Array]]:
    """The reverse of each edge: receivers within each target block, senders, and values."""
    index = neighbors[0]
    receivers, edge_values = index.ravel(), values.ravel()
    senders = offset + np.repeat(np.arange(len(index)), index.shape[1])
    order = receivers.argsort(kind="stable")
    bounds = np.searchsorted(receivers[order], offsets)
    parts = []
    for target, start in enumerate(offsets[:-1]):
        chosen = order[bounds[target] : bounds[target + 1]]
        parts.append((receivers[chosen] - start, senders[chosen], edge_values[chosen]))
    return parts


def _take(parts: Sequence[Any], position: int) -> Any:
    return parts[position]


def _assemble(
    neighbors: tuple[Array, Array],
    values: Array,
    incoming: Sequence[tuple[Array, Array, Array]],
    n_items: int,
    combine: CombineValues,
) -> RowBlock:
    index = neighbors[0]
    size, k = index.shape
    # One integer per edge, which sorts by receiver and then by sender.
    forward_code = np.repeat(np.arange(size), k) * n_items + index.ravel()
    backward_code = np.concatenate([part[0] * n_items + part[1] for part in incoming])
    backward_values = np.concatenate([part[2] for part in incoming])
    both = np.concatenate([forward_code, backward_code])
    code, position = np.unique(both, return_inverse=True)
    forward, backward = np.zeros((2, len(code)), dtype=values.dtype)
    forward[position[: len(forward_code)]] = values.ravel()
    backward[position[len(forward_code) :]] = backward_values
    ptr = np.searchsorted(code // n_items, np.arange(size + 1))
    return RowBlock(ptr, code % n_items, combine(forward, backward))


def _mean(forward: Array, backward: Array) -> Array:
    out: Array = (forward + backward) / 2
    return out


def _largest_length(block: Array) -> float:
    return float(as_tensor(block).square().sum(1).amax())


def _gaussian_values(neighbors: tuple[Array, Array], largest_length: float) -> Array:
    distance = as_tensor(neighbors[1]).square()
    width = distance.amax(1, keepdim=True)
    rounding = largest_rounding(torch.tensor(largest_length, dtype=distance.dtype))
    out: Array = gaussian_weights(distance, width, rounding).numpy()
    return out


def _cosine_values(neighbors: tuple[Array, Array], power: float) -> Array:
    out: Array = (1 - as_tensor(neighbors[1])).clamp_min(0).pow(power).numpy()
    return out


def _widths(neighbors: tuple[Array, Array]) -> Array:
    out: Array = neighbors[1].max(1)
    return out


def _self_tuning_values(
    neighbors: tuple[Array, Array], width: Array, widths: Sequence[Array]
) -> Array:
    index, distance = neighbors
    both = (width[:, None] * np.concatenate(widths)[index]).clip(TINY)
    out: Array = np.exp(-(distance**2) / both).astype(distance.dtype)
    return out
