"""Label spreading and harmonic functions by conjugate gradients on rows that workers hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphfew.dask.graph_shards import GraphShards, RowBlock
from graphfew.dask.parquet_partitions import Array
from graphfew.dask.shard_labels import ShardLabels
from graphfew.errors import InvalidInputError, NumericalError
from graphfew.propagation.solvers import COLUMNS_PER_SOLVE, DAMPING, TINY

Blocks = Sequence[Any]
SolveColumns = Callable[[slice], Blocks]


def spread_shards(
    client: Any,
    graph: GraphShards,
    labels: ShardLabels,
    alpha: float = 0.8,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> list[Any]:
    """Compute `graphfew.propagation.spread_labels` on a distributed graph.

    Args:
        client: of Dask.
        graph: the graph.
        labels: the labels.
        alpha: share of an item's label that comes from its neighbors, in `(0, 1)`.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations.

    Returns:
        The future of the class scores `[n, C]` of each block.

    Raises:
        InvalidInputError: alpha outside `(0, 1)`.
        NumericalError: the tolerance was not reached.

    Example:
        >>> from graphfew.dask import spread_shards
        >>> spread_shards(client, graph, labels)[0].result()  # doctest: +SKIP
    """
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha is {alpha}; it must be between 0 and 1")
    transition = normalize_rows(client, graph, root_degrees(client, graph), alpha)

    def solve(columns: slice) -> Blocks:
        b = label_blocks(client, graph, labels, columns)
        return conjugate_gradient_shards(client, transition, b, tolerance, max_iterations)

    return solve_by_columns(client, solve, labels.n_classes)


def harmonic_shards(
    client: Any,
    graph: GraphShards,
    labels: ShardLabels,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> list[Any]:
    """Compute `graphfew.propagation.harmonic_function` on a distributed graph.

    Args:
        client: of Dask.
        graph: the graph.
        labels: one-hot labels.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations.

    Returns:
        The future of the class scores `[n, C]` of each block.

    Raises:
        NumericalError: the tolerance was not reached.

    Example:
        >>> from graphfew.dask import harmonic_shards
        >>> harmonic_shards(client, graph, labels)[0].result()  # doctest: +SKIP
    """
    roots = root_degrees(client, graph)
    transition = normalize_rows(client, graph, roots, 1 - DAMPING)
    into, among = [], []
    for rows, offset in zip(transition.blocks, graph.offsets, strict=False):
        into.append(client.submit(_into_unlabeled, rows, offset, labels))
        among.append(client.submit(_among_unlabeled, into[-1], labels))
    system = GraphShards(tuple(among), graph.sizes)

    def solve(columns: slice) -> Blocks:
        known = label_blocks(client, graph, labels, columns)
        scaled = [client.submit(np.multiply, *pair) for pair in zip(known, roots, strict=True)]
        b = [client.submit(_product, rows, scaled) for rows in into]
        solution = conjugate_gradient_shards(client, system, b, tolerance, max_iterations)
        # The solve was for D^½ F; labeled rows of the solution are 0.
        return [
            client.submit(_unscale_and_add, *parts)
            for parts in zip(solution, roots, known, strict=True)
        ]

    return solve_by_columns(client, solve, labels.n_classes)


def solve_by_columns(client: Any, solve: SolveColumns, n_classes: int) -> list[Any]:
    """Solve for a few columns at a time, and join the columns of each block.

    Args:
        client: of Dask.
        solve: from a slice of the columns to the blocks of their solution.
        n_classes: number of columns.

    Returns:
        The future of the solution `[n, C]` of each block.
    """
    starts = range(0, n_classes, COLUMNS_PER_SOLVE)
    parts = [solve(slice(start, min(start + COLUMNS_PER_SOLVE, n_classes))) for start in starts]
    return [client.submit(_join_columns, list(blocks)) for blocks in zip(*parts, strict=True)]


def conjugate_gradient_shards(
    client: Any, transition: GraphShards, b: Blocks, tolerance: float, max_iterations: int
) -> Blocks:
    """Solve `(I - T) X = B` by the iterations of `graphfew.propagation.conjugate_gradients`.

    Each iteration sends the directions of all blocks to all workers, `4 N C` bytes to each, and
    `2 C` numbers per block to this process.

    Args:
        client: of Dask.
        transition: T, symmetric.
        b: futures of the blocks of B, `[n, C]` each.
        tolerance: relative residual of every column.
        max_iterations: the most iterations.

    Returns:
        The futures of the blocks of X.

    Raises:
        NumericalError: the tolerance was not reached.
    """
    length = np.sqrt(_total(client, _squares, b))
    # A column of zeros stays zero instead of becoming NaN.
    inverse = 1 / length.clip(min=np.finfo(np.float32).tiny)
    residual = [client.submit(_scale_columns, block, inverse) for block in b]
    x = [client.submit(np.zeros_like, block, pure=False) for block in b]
    direction = residual
    squared = _total(client, _squares, residual)
    for _ in range(max_iterations):
        is_active = squared > tolerance**2
        if not is_active.any():
            break
        image = [
            client.submit(_minus_product, rows, block, direction)
            for rows, block in zip(transition.blocks, direction, strict=True)
        ]
        curvature = _total(client, _dots, direction, image)
        # A converged column takes steps of 0 from here on.
        step = np.divide(squared, curvature, out=np.zeros_like(squared), where=is_active)
        x = _add_scaled(client, x, direction, step)
        residual = _add_scaled(client, residual, image, -step)
        previous, squared = squared, _total(client, _squares, residual)
        ratio = np.divide(squared, previous, out=np.zeros_like(squared), where=is_active)
        direction = _add_scaled(client, residual, direction, ratio)
    if not (squared <= tolerance**2).all():
        raise NumericalError(
            f"conjugate gradients reached a relative residual of {np.sqrt(squared.max()):.1e} in "
            f"{max_iterations} iterations; the tolerance is {tolerance:.1e}; allow more iterations "
            "or a larger tolerance"
        )
    return [client.submit(_scale_columns, block, length) for block in x]


def root_degrees(client: Any, graph: GraphShards) -> list[Any]:
    """Return the futures of `D^½`, `[n, 1]` per block; positive also for isolated items."""
    return [client.submit(_root_degree, rows) for rows in graph.blocks]


def normalize_rows(client: Any, graph: GraphShards, roots: Blocks, factor: float) -> GraphShards:
    """Compute `factor · D^-½ W D^-½`; every worker gets the degrees of all items."""
    blocks = [
        client.submit(_normalize, rows, own, list(roots), factor)
        for rows, own in zip(graph.blocks, roots, strict=True)
    ]
    return GraphShards(tuple(blocks), graph.sizes)


def label_blocks(client: Any, graph: GraphShards, labels: ShardLabels, columns: slice) -> list[Any]:
    """Return the futures of the label matrix's blocks, for some columns."""
    return [
        client.submit(labels.block, offset, size, columns, pure=False)
        for offset, size in zip(graph.offsets, graph.sizes, strict=False)
    ]


def _total(client: Any, function: Callable[..., Array], *blocks: Blocks) -> Array:
    """Sum what a function returns for each block, `[C]`."""
    parts = [client.submit(function, *part) for part in zip(*blocks, strict=True)]
    total: Array = np.sum(client.gather(parts), axis=0)
    return total


def _add_scaled(client: Any, blocks: Blocks, others: Blocks, factor: Array) -> list[Any]:
    return [
        client.submit(_plus_scaled, block, other, factor)
        for block, other in zip(blocks, others, strict=True)
    ]


# Blocks are shared by tasks, so these functions change no argument.


def _squares(block: Array) -> Array:
    return _dots(block, block)


def _dots(block: Array, other: Array) -> Array:
    out: Array = np.einsum("nc,nc->c", block, other, dtype=np.float64)
    return out


def _scale_columns(block: Array, factor: Array) -> Array:
    out: Array = block * factor.astype(block.dtype)
    return out


def _plus_scaled(block: Array, other: Array, factor: Array) -> Array:
    out: Array = block + other * factor.astype(block.dtype)
    return out


def _product(rows: RowBlock, x: Sequence[Array]) -> Array:
    return rows.matmul(np.concatenate(x))


def _minus_product(rows: RowBlock, block: Array, x: Sequence[Array]) -> Array:
    return block - _product(rows, x)


def _unscale_and_add(solution: Array, root: Array, label: Array) -> Array:
    return solution / root + label


def _root_degree(rows: RowBlock) -> Array:
    out: Array = np.sqrt(rows.row_sums().clip(min=TINY))[:, None]
    return out


def _normalize(rows: RowBlock, own: Array, roots: Sequence[Array], factor: float) -> RowBlock:
    sender_root = np.concatenate(roots)[rows.senders, 0]
    weights = factor * rows.weights / own[rows.receivers, 0] / sender_root
    return dataclasses.replace(rows, weights=weights.astype(rows.weights.dtype))


def _into_unlabeled(rows: RowBlock, offset: int, labels: ShardLabels) -> RowBlock:
    return rows.select(~labels.is_labeled(offset + rows.receivers))


def _among_unlabeled(rows: RowBlock, labels: ShardLabels) -> RowBlock:
    return rows.select(~labels.is_labeled(rows.senders))


def _join_columns(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts, axis=1)
