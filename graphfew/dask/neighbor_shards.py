"""Nearest neighbors of items that are distributed over workers in shards.

Every shard has an index on one worker. All queries go to all shards, and the `k` nearest of what
they find are kept, so an exact index per shard finds the neighbors of a search in one process.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.dask.parquet_partitions import Array
from graphfew.errors import InvalidInputError
from graphfew.ops.smallest import smallest
from graphfew.propagation.cell_index import CellIndex, build_cells
from graphfew.propagation.exact_neighbors import query_neighbors

# From queries `[Q, F]` and k to indices and distances `[Q, k]`, nearest first.
QuerySearch = Callable[[Tensor, int], tuple[Tensor, Tensor]]
BuildIndex = Callable[[Tensor], QuerySearch]
# Bytes of the cosines of a chunk of queries to all items of a shard.
CHUNK_BYTES = 128 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureShards:
    """Features in blocks of rows on the workers.

    Attributes:
        blocks: futures of arrays `[n, F]`.
        sizes: number of rows of each block.
        n_features: F.

    Example:
        >>> from graphfew.dask import FeatureShards
        >>> FeatureShards((), (3, 2), 8).offsets
        (0, 3, 5)
    """

    blocks: tuple[Any, ...]
    sizes: tuple[int, ...]
    n_features: int

    @property
    def offsets(self) -> tuple[int, ...]:
        """First row of each block, and the number of all rows at the end."""
        return (0, *(int(end) for end in np.cumsum(self.sizes)))

    @property
    def n_items(self) -> int:
        """Number of rows of all blocks."""
        return sum(self.sizes)


@dataclasses.dataclass(frozen=True, eq=False)
class ExactIndex:
    """Exact search by Euclidean distance in one shard.

    Attributes:
        x: items of the shard, `[n, F]`.

    Example:
        >>> import torch
        >>> from graphfew.dask import ExactIndex
        >>> ExactIndex(torch.tensor([[0.0], [1.0]]))(torch.tensor([[2.0]]), 1)[0].tolist()
        [[1]]
    """

    x: Float[Tensor, "n F"]

    def __call__(
        self, queries: Float[Tensor, "Q F"], k: int
    ) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
        """Find the `k` nearest items of each query."""
        return query_neighbors(queries, self.x, k)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.x.nbytes


@dataclasses.dataclass(frozen=True, eq=False)
class CosineIndex:
    """Exact search by cosine in one shard; distances are `1 - cos`.

    Attributes:
        x: items of the shard, `[n, F]`.

    Example:
        >>> from graphfew.dask.neighbor_shards import CosineIndex
        >>> CosineIndex(torch.eye(2))(torch.tensor([[3.0, 1.0]]), 1)[0].tolist()
        [[0]]
    """

    x: Float[Tensor, "n F"]

    def __call__(
        self, queries: Float[Tensor, "Q F"], k: int
    ) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
        """Find the `k` nearest items of each query."""
        unit = F.normalize(self.x, dim=1)
        step = max(1, CHUNK_BYTES // (len(unit) * unit.element_size()))
        indices, distances = [], []
        for part in torch.split(F.normalize(queries, dim=1), step):
            distance, index = smallest((part @ unit.T).neg_(), k)
            indices.append(index)
            distances.append(distance + 1)
        return torch.cat(indices), torch.cat(distances)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.x.nbytes


@dataclasses.dataclass(frozen=True, eq=False)
class CellShardIndex:
    """Approximate search in the k-means cells of one shard, see `graphfew.propagation.cell_search`.

    Attributes:
        cells: the items of the shard in cells.

    Example:
        >>> from graphfew.dask.neighbor_shards import cell_index
        >>> cell_index(torch.tensor([[0.0], [1.0]]))(torch.tensor([[2.0]]), 1)[0].tolist()
        [[1]]
    """

    cells: CellIndex

    def __call__(
        self, queries: Float[Tensor, "Q F"], k: int
    ) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
        """Find `k` near items of each query."""
        index, distance = self.cells.search(queries, k)
        # Of rows with length 1, the squared distance is 2 - 2 cos.
        return index, distance.square() / 2 if self.cells.unit_length else distance

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.cells.x.nbytes + self.cells.members.nbytes


def cell_index(x: Float[Tensor, "n F"]) -> CellShardIndex:
    """Build the approximate index of a shard for Euclidean distances."""
    return CellShardIndex(build_cells(x))


def cosine_cell_index(x: Float[Tensor, "n F"]) -> CellShardIndex:
    """Build the approximate index of a shard for distances `1 - cos`."""
    return CellShardIndex(build_cells(x, unit_length=True))


def shard_features(client: Any, x: Any) -> FeatureShards:
    """Compute the blocks of a Dask array on the workers, and keep them there.

    Args:
        client: of Dask.
        x: `[n, F]` `dask.array.Array` with known block sizes, such as
            `dask.array.from_array(x, chunks=(100_000, -1))`.

    Returns:
        The shards.

    Raises:
        InvalidInputError: `x` is no matrix, or its block sizes are not known.

    Example:
        >>> from graphfew.dask import shard_features
        >>> shard_features(client, x).sizes  # doctest: +SKIP
        (100000, 100000)
    """
    if x.ndim != 2 or np.isnan(x.shape).any():
        raise InvalidInputError(
            f"x has shape {x.shape}; give a Dask array [n, F] with known block sizes "
            "(compute_chunk_sizes)"
        )
    rows = x.rechunk({1: -1})
    blocks = client.compute(list(rows.to_delayed().ravel()))
    return FeatureShards(tuple(blocks), tuple(rows.chunks[0]), int(x.shape[1]))


def knn_shards(
    client: Any, shards: FeatureShards, k: int, *, build_index: BuildIndex = ExactIndex
) -> tuple[Any, ...]:
    """Find the `k` nearest neighbors of every item among the items of all shards.

    Args:
        client: of Dask.
        shards: the items.
        k: number of neighbors, `1 .. N-1`.
        build_index: from the items of a shard `[n, F]` to its search, `(queries [Q, F], k) ->
            (indices [Q, k], distances [Q, k])`, nearest first. `ExactIndex` gives the graph of one
            process. The function and its result must be picklable.

    Returns:
        For each block the future of `(indices [n, k], distances [n, k])`, nearest first, without
        the item itself; the indices count through all blocks.

    Raises:
        InvalidInputError: `k` is out of range.

    Example:
        >>> from graphfew.dask import knn_shards, shard_features
        >>> index, distance = knn_shards(client, shards, 10)[0].result()  # doctest: +SKIP
    """
    if not 1 <= k < shards.n_items:
        raise InvalidInputError(
            f"k is {k} and there are {shards.n_items} items; give a k from 1 to "
            f"{shards.n_items - 1}"
        )
    indices = [client.submit(_build, build_index, block) for block in shards.blocks]
    neighbors = []
    for position, queries in enumerate(shards.blocks):
        found = [
            client.submit(_search, index, queries, k, size, offset, shard == position)
            for shard, (index, size, offset) in enumerate(
                zip(indices, shards.sizes, shards.offsets, strict=False)
            )
        ]
        neighbors.append(client.submit(merge_neighbors, found, k))
    return tuple(neighbors)


def merge_neighbors(found: Sequence[tuple[Array, Array]], k: int) -> tuple[Array, Array]:
    """Keep the `k` nearest of what several shards found.

    Args:
        found: indices and distances `[Q, k']` of each shard.
        k: number of neighbors.

    Returns:
        Indices and distances `[Q, k]`, nearest first; of tied items those of the first shard.

    Example:
        >>> near, far = (np.array([[4]]), np.array([[0.5]])), (np.array([[9]]), np.array([[0.7]]))
        >>> merge_neighbors([far, near], 1)
        (array([[4]]), array([[0.5]]))
    """
    index = np.concatenate([part[0] for part in found], axis=1)
    distance = np.concatenate([part[1] for part in found], axis=1)
    order = distance.argsort(1, kind="stable")[:, :k]
    return np.take_along_axis(index, order, 1), np.take_along_axis(distance, order, 1)


def as_tensor(array: Array) -> Tensor:
    """View an array as a tensor; half precision becomes single, and arrays from other workers are copied.

    Arrays that came over the network cannot be written to, which tensors do not support.
    """
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _build(build_index: BuildIndex, block: Array) -> QuerySearch:
    return build_index(as_tensor(block))


def _search(
    index: QuerySearch, block: Array, k: int, size: int, offset: int, is_own: bool
) -> tuple[Array, Array]:
    """The neighbors of a block in one shard, of which it may itself be the shard."""
    queries = as_tensor(block)
    # One more in the own shard, where each item finds itself.
    found, distance = index(queries, min(k + is_own, size))
    if is_own:
        found, distance = _drop_self(found, distance)
    return found.numpy() + offset, distance.numpy()


def _drop_self(index: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    n_items, n_found = index.shape
    is_dropped = index == torch.arange(n_items)[:, None]
    # Among many duplicates an item may not find itself; then the farthest is dropped.
    is_dropped[:, -1] |= ~is_dropped.any(1)
    shape = (n_items, n_found - 1)
    return index[~is_dropped].view(shape), distance[~is_dropped].view(shape)


def array_bytes(*arrays: Array) -> int:
    """Number of bytes of arrays with their objects."""
    return sum(array.nbytes + sys.getsizeof(type(array)) for array in arrays)
