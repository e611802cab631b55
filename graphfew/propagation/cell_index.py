"""Approximate neighbor search in cells: k-means cells, and exact products within the nearest cells.

The work is matrix products of torch, so it runs on every device, reads float16 and memory-mapped
features block by block, and needs no further library.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.errors import InvalidInputError
from graphfew.propagation.exact_neighbors import NearestNodes
from graphfew.propagation.feature_blocks import (
    check_k,
    check_lengths,
    drop_self,
    feature_block,
)

# Cells per square root of the number of nodes.
CELLS_PER_ROOT = 4
# Recall at least 0.98 on embeddings of sentences and photos, see benchmarks/scale/neighbors.py.
PROBES = 24
SAMPLES_PER_CELL = 32
ITERATIONS = 5
# Nodes that are assigned to cells at a time, and distances that are computed at a time.
ROWS_PER_BLOCK = 4096
TABLE_ELEMENTS = 2**23

Progress = Callable[[int], None]


def _ignore(done: int) -> None:
    del done


@dataclasses.dataclass(frozen=True, eq=False)
class CellIndex:
    """Nodes sorted into k-means cells, for searches in the cells nearest to a query.

    Attributes:
        x: `[N, F]` nodes, of any floating type; they are not copied.
        unit_length: whether nodes and queries count with length 1.
        centroids: `[M, F]` of the cells.
        members: `[N]` nodes in the order of their cells.
        starts: M + 1 positions in `members`.

    Example:
        >>> import torch
        >>> from graphfew.propagation.cell_index import build_cells
        >>> index = build_cells(torch.tensor([[0.0], [1.0], [8.0], [9.0]]))
        >>> index.search(torch.tensor([[8.8]]), 2)[0].tolist()
        [[3, 2]]
    """

    x: Float[Tensor, "N F"]
    unit_length: bool
    centroids: Float[Tensor, "M F"]
    members: Int[Tensor, " N"]
    starts: tuple[int, ...]

    def search(
        self,
        queries: Float[Tensor, "Q F"],
        k: int,
        *,
        n_probes: int = PROBES,
        progress: Progress = _ignore,
    ) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
        """Find nodes near each query in the cells nearest to it.

        Args:
            queries: `[Q, F]`.
            k: number of nodes, `1 .. N`.
            n_probes: number of cells that are searched for each query; more if these have fewer
                than `k` nodes.
            progress: called with the number of finished queries.

        Returns:
            Indices of nodes, nearest first, and Euclidean distances, `[Q, k]` each.

        Raises:
            InvalidInputError: `k` or `n_probes` is out of range.
        """
        _check_probes(n_probes)
        if not 1 <= k <= len(self.x):
            raise InvalidInputError(
                f"k is {k} and there are {len(self.x)} nodes; give a k from 1 to {len(self.x)}"
            )
        n_probes = min(max(n_probes, self._probes_for(k)), len(self.centroids))
        probes = _nearest_cells(queries, self.centroids, n_probes, unit_length=self.unit_length)
        return self._search_probes(queries, probes, k, progress)

    def _probes_for(self, k: int) -> int:
        """The number of cells that have `k` nodes, whichever they are."""
        sizes = torch.tensor(self.starts).diff().sort().values.cumsum(0)
        return int((sizes < k).sum()) + 1

    def _search_probes(
        self, queries: Tensor, probes: Tensor, k: int, progress: Progress
    ) -> tuple[Tensor, Tensor]:
        n_queries, n_probes = probes.shape
        nearest = NearestNodes(n_queries, k, self.centroids)
        flat = probes.reshape(-1)
        # All queries of a cell meet its nodes in one matrix product.
        query_order = flat.argsort(stable=True)
        ends = torch.bincount(flat, minlength=len(self.centroids)).cumsum(0).tolist()
        del flat
        start = 0
        for cell, end in enumerate(ends):
            nodes = self.members[self.starts[cell] : self.starts[cell + 1]]
            if len(nodes) and end > start:
                rows = query_order[start:end] // n_probes
                self._search_cell(queries, rows, nodes, nearest)
            start = end
            progress(end // n_probes)
        return nearest.index, nearest.squared_distance.clamp_min_(0).sqrt_()

    def _search_cell(
        self, queries: Tensor, rows: Tensor, nodes: Tensor, nearest: NearestNodes
    ) -> None:
        points = feature_block(self.x, nodes, unit_length=self.unit_length)
        squares = points.square().sum(1)
        for block in torch.split(rows, max(1, TABLE_ELEMENTS // len(nodes))):
            q = feature_block(queries, block, unit_length=self.unit_length)
            table = torch.addmm(squares, q, points.T, alpha=-2).add_(
                q.square().sum(1, keepdim=True)
            )
            nearest.update(block, table, nodes)


@torch.no_grad()
def build_cells(x: Float[Tensor, "N F"], *, unit_length: bool = False, seed: int = 0) -> CellIndex:
    """Sort nodes into about 4 √N cells by k-means on a sample.

    Args:
        x: nodes `[N, F]`.
        unit_length: whether nodes count with length 1, for searches by cosine.
        seed: of the sample.

    Returns:
        The index. It is deterministic for a seed and a number of threads.

    Example:
        >>> import torch
        >>> from graphfew.propagation.cell_index import build_cells
        >>> build_cells(torch.tensor([[0.0], [1.0], [8.0], [9.0]])).starts[-1]
        4
    """
    n_nodes = len(x)
    n_cells = min(n_nodes, CELLS_PER_ROOT * math.isqrt(n_nodes))
    generator = torch.Generator().manual_seed(seed)
    n_samples = min(n_nodes, SAMPLES_PER_CELL * n_cells)
    sample = torch.randperm(n_nodes, generator=generator)[:n_samples].to(x.device)
    points = feature_block(x, sample, unit_length=unit_length)
    centroids = points[:n_cells].clone()
    for _ in range(ITERATIONS):
        centroids = _move(centroids, points)
    cell = _nearest_cells(x, centroids, 1, unit_length=unit_length)[:, 0]
    sizes = torch.bincount(cell, minlength=n_cells)
    starts = (0, *sizes.cumsum(0).tolist())
    return CellIndex(x, unit_length, centroids, cell.argsort(stable=True), starts)


@torch.no_grad()
def cell_search(
    x: Float[Tensor, "N F"],
    k: int,
    *,
    n_probes: int = PROBES,
    seed: int = 0,
    progress: Progress = _ignore,
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find approximate nearest neighbors by Euclidean distance, much faster than `exact_search`.

    Nodes are sorted into k-means cells. The neighbors of a node are exact among the nodes of the
    cells nearest to it. Features of any floating type are read block by block, so that float16 and
    memory-mapped ones are never copied as a whole.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        n_probes: number of cells that are searched for each node; more give a higher recall.
        seed: of the sample for k-means. The result is deterministic for a seed and a number of
            threads.
        progress: called with the number of finished nodes.

    Returns:
        Indices, nearest first, and distances, `[N, k]` each; float32 for features of 16 bits.

    Raises:
        InvalidInputError: `k` or `n_probes` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import cell_search
        >>> cell_search(torch.tensor([[0.0], [1.0], [4.0]]), 1)[0].tolist()
        [[1], [0], [1]]

    Source:
        Sivic, Zisserman, 2003, Video Google: A Text Retrieval Approach to Object Matching in Videos
        (inverted files); Jégou, Douze, Schmid, 2011, Product Quantization for Nearest Neighbor
        Search (searches of several cells).

    Deviations:
        Distances within cells are exact, without quantization.
    """
    check_k(k, len(x))
    _check_probes(n_probes)
    index = build_cells(x, seed=seed)
    return drop_self(*index.search(x, k + 1, n_probes=n_probes, progress=progress))


@torch.no_grad()
def cell_cosine_search(
    x: Float[Tensor, "N F"],
    k: int,
    *,
    n_probes: int = PROBES,
    seed: int = 0,
    progress: Progress = _ignore,
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find approximate nearest neighbors by cosine similarity, see `cell_search`.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        n_probes: number of cells that are searched for each node; more give a higher recall.
        seed: of the sample for k-means. The result is deterministic for a seed and a number of
            threads.
        progress: called with the number of finished nodes.

    Returns:
        Indices, nearest first, and distances `1 - cos`, `[N, k]` each.

    Raises:
        InvalidInputError: `k` or `n_probes` is out of range, or a node has length 0.

    Example:
        >>> import torch
        >>> from graphfew.propagation import cell_cosine_search
        >>> cell_cosine_search(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]), 1)[0].tolist()
        [[2], [2], [1]]

    Source:
        That of `cell_search`.

    Deviations:
        That of `cell_search`.
    """
    check_k(k, len(x))
    _check_probes(n_probes)
    check_lengths(x)
    index = build_cells(x, unit_length=True, seed=seed)
    neighbors, distance = drop_self(*index.search(x, k + 1, n_probes=n_probes, progress=progress))
    # ‖a - b‖² = 2 (1 - cos) of rows of length 1.
    return neighbors, distance.square_().div_(2)


def _move(centroids: Tensor, points: Tensor) -> Tensor:
    """One step of k-means; empty cells stay."""
    cell = _nearest_cells(points, centroids, 1, unit_length=False)[:, 0]
    sums = torch.zeros_like(centroids).index_add_(0, cell, points)
    sizes = torch.bincount(cell, minlength=len(centroids))[:, None]
    return torch.where(sizes > 0, sums / sizes.clamp_min(1), centroids)


def _nearest_cells(
    x: Tensor, centroids: Tensor, n_cells: int, *, unit_length: bool
) -> Int[Tensor, "N P"]:
    """The nearest cells of each row, `[N, P]` int32."""
    # ‖x - c‖² / 2 without ‖x‖².
    half_squares = centroids.square().sum(1) / 2
    nearest = torch.empty(len(x), n_cells, dtype=torch.int32, device=x.device)
    for start in range(0, len(x), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        block = feature_block(x, rows, unit_length=unit_length).to(centroids.dtype)
        table = torch.addmm(half_squares, block, centroids.T, alpha=-1)
        if n_cells == 1:
            nearest[rows, 0] = table.argmin(1).to(torch.int32)
        else:
            nearest[rows] = table.topk(n_cells, dim=1, largest=False).indices.to(torch.int32)
    return nearest


def _check_probes(n_probes: int) -> None:
    if n_probes < 1:
        raise InvalidInputError(f"n_probes is {n_probes}; search at least 1 cell for each node")
