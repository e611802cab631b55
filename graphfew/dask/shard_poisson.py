"""Poisson learning on rows that workers hold, component by component."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphfew.dask.graph_shards import GraphShards, RowBlock
from graphfew.dask.parquet_partitions import Array
from graphfew.dask.shard_labels import ShardLabels
from graphfew.dask.shard_solvers import (
    Blocks,
    conjugate_gradient_shards,
    label_blocks,
    normalize_rows,
    root_degrees,
    solve_by_columns,
)
from graphfew.propagation.poisson_equation import TYPICAL_PROB
from graphfew.propagation.symmetric_graph import ABSENT_ROUNDINGS

Index = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledComponents:
    """The connected components that contain a label.

    Attributes:
        blocks: futures of the component of each item, `[n]` per block; -1 without a label.
        of_label: `[m]` component of each label.
        is_present: `[K, C]` whether the component has a label of the class.
    """

    blocks: tuple[Any, ...]
    of_label: Index
    is_present: NDArray[np.bool_]


def poisson_shards(
    client: Any,
    graph: GraphShards,
    labels: ShardLabels,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> list[Any]:
    """Compute `graphfew.propagation.poisson_learning` without a prior on a distributed graph.

    Args:
        client: of Dask.
        graph: the graph, with weights of 0 on the diagonal.
        labels: one-hot labels.
        tolerance: relative residual, see `conjugate_gradients`.
        max_iterations: the most iterations.

    Returns:
        The future of the class probabilities `[n, C]` of each block.

    Raises:
        NumericalError: the tolerance was not reached.

    Example:
        >>> from graphfew.dask import poisson_shards
        >>> poisson_shards(client, graph, labels)[0].result()  # doctest: +SKIP
    """
    graph = _drop_absent(client, graph)
    components = find_labeled_components(client, graph, labels)
    scores = poisson_score_shards(client, graph, labels, components, tolerance, max_iterations)
    is_present = components.is_present
    n_present = is_present.sum(1, keepdims=True)
    # The mean over a component of the largest score, by which scores become comparable.
    size, spread = (
        _component_totals(client, function, components, scores)
        for function in (_count_rows, _largest_scores)
    )
    spread = spread * n_present / (n_present - 1).clip(min=1)
    mean_spread = spread / size.clip(min=1)
    # The spread is 0 for components with fewer than two classes, whose scores are 0 as well.
    scale = np.where(mean_spread > 0, mean_spread, 1).astype(np.float32)
    blocks = list(zip(scores, components.blocks, strict=True))
    minima = [client.submit(_smallest_score, *block, scale, is_present) for block in blocks]
    smallest = min(client.gather(minima))
    smallest = 0.0 if np.isinf(smallest) else smallest
    return [client.submit(_probs, *block, scale, is_present, smallest) for block in blocks]


def poisson_score_shards(
    client: Any,
    graph: GraphShards,
    labels: ShardLabels,
    components: LabeledComponents,
    tolerance: float,
    max_iterations: int,
) -> list[Any]:
    """Compute `graphfew.propagation.poisson_scores`; the arguments are those of `poisson_shards`."""
    n_components = len(components.is_present)
    # Each label minus the mean label of its component.
    counts = np.bincount(components.of_label, minlength=n_components)
    sums = np.zeros((n_components, labels.n_classes), dtype=np.float32)
    np.add.at(sums, components.of_label, labels.values)
    mean_label = sums / counts[:, None].astype(np.float32)
    values: Array = labels.values - mean_label[components.of_label]
    sources = dataclasses.replace(labels, values=values)
    roots = root_degrees(client, graph)
    normalized = normalize_rows(client, graph, roots, 1.0)
    volume = _component_totals(client, _volumes, components, roots)

    def solve(columns: slice) -> Blocks:
        source = label_blocks(client, graph, sources, columns)
        b = [client.submit(np.divide, *part) for part in zip(source, roots, strict=True)]
        solution = conjugate_gradient_shards(client, normalized, b, tolerance, max_iterations)
        u = [client.submit(np.divide, *part) for part in zip(solution, roots, strict=True)]
        # The solution is unique up to a constant per component.
        moments = _component_totals(client, _moments, components, roots, u)
        shift = (moments / volume).astype(np.float32)
        return [
            client.submit(_subtract_shift, *part, shift)
            for part in zip(u, components.blocks, strict=True)
        ]

    return solve_by_columns(client, solve, labels.n_classes)


def find_labeled_components(
    client: Any, graph: GraphShards, labels: ShardLabels
) -> LabeledComponents:
    """Find the connected components with a label.

    Each block's edges give components of all items, `4 N` bytes, which are joined in pairs: the
    largest arrays of the whole computation on one worker.

    Args:
        client: of Dask.
        graph: the graph.
        labels: the labels.

    Returns:
        The components.
    """
    parts = [
        client.submit(_block_components, rows, offset, graph.n_items)
        for rows, offset in zip(graph.blocks, graph.offsets, strict=False)
    ]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        joined = [client.submit(join_components, *pair) for pair in pairs]
        parts = joined + ([parts[-1]] if len(parts) % 2 else [])
    everywhere = parts[0]
    named = client.submit(np.take, everywhere, labels.rows).result()
    numbers, of_label = np.unique(named, return_inverse=True)
    blocks = [
        client.submit(_number_components, everywhere, numbers, offset, size)
        for offset, size in zip(graph.offsets, graph.sizes, strict=False)
    ]
    is_present = np.zeros((len(numbers), labels.n_classes), dtype=bool)
    np.logical_or.at(is_present, of_label, labels.values > 0)
    return LabeledComponents(tuple(blocks), of_label, is_present)


def join_components(one: Array, other: Array) -> Array:
    """Join the components of two graphs on the same items to those of their union.

    Args:
        one: `[N]` component of each item in one graph.
        other: `[N]` component of each item in the other graph.

    Returns:
        `[N]` component of each item.

    Example:
        >>> join_components(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
        [0, 0, 0, 1]
    """
    n_one, n_other = int(one.max()) + 1, int(other.max()) + 1
    # Components of both graphs are nodes, which an item connects.
    ones = np.ones(len(one), dtype=np.int8)
    links = sparse.csr_array((ones, (one, other + n_one)), shape=(n_one + n_other,) * 2)
    _, component = sparse.csgraph.connected_components(links, directed=False)
    out: Array = component[one]
    return out


def _component_totals(
    client: Any, function: Any, components: LabeledComponents, *blocks: Blocks
) -> Array:
    """Sum a function of the rows of each block over components, `[K, C]`."""
    n_components = len(components.is_present)
    parts = [
        client.submit(_sum_by_component, function, component, n_components, *block)
        for component, *block in zip(components.blocks, *blocks, strict=True)
    ]
    total: Array = np.sum(client.gather(parts), axis=0)
    return total


def _sum_by_component(function: Any, component: Index, n_components: int, *block: Array) -> Array:
    is_counted = component >= 0
    values = function(*block)[is_counted].astype(np.float64)
    sums = np.zeros((n_components, values.shape[1]))
    np.add.at(sums, component[is_counted], values)
    return sums


def _count_rows(scores: Array) -> Array:
    return np.ones((len(scores), 1))


def _largest_scores(scores: Array) -> Array:
    out: Array = scores.max(1, keepdims=True)
    return out


def _volumes(root: Array) -> Array:
    return root**2


def _moments(root: Array, u: Array) -> Array:
    return root**2 * u


def _subtract_shift(u: Array, component: Index, shift: Array) -> Array:
    return np.where(component[:, None] >= 0, u - shift[component], 0).astype(u.dtype)


def _drop_absent(client: Any, graph: GraphShards) -> GraphShards:
    """Drop edges of weight zero up to rounding, as `sparse_symmetric_graph` does."""
    roots = root_degrees(client, graph)
    normalized = normalize_rows(client, graph, roots, 1.0)
    pairs = zip(graph.blocks, normalized.blocks, strict=True)
    return GraphShards(tuple(client.submit(_select_present, *pair) for pair in pairs), graph.sizes)


def _select_present(rows: RowBlock, normalized: RowBlock) -> RowBlock:
    return rows.select(normalized.weights > ABSENT_ROUNDINGS * np.finfo(np.float32).eps)


def _block_components(rows: RowBlock, offset: int, n_items: int) -> Array:
    ones = np.ones(len(rows.senders), dtype=np.int8)
    ends = (offset + rows.receivers, rows.senders)
    graph = sparse.csr_array((ones, ends), shape=(n_items, n_items))
    _, component = sparse.csgraph.connected_components(graph, directed=False)
    out: Array = component
    return out


def _number_components(everywhere: Array, numbers: Array, offset: int, size: int) -> Index:
    """The position of each item's component among those with a label; -1 if it has none."""
    own = everywhere[offset : offset + size]
    position = np.searchsorted(numbers, own).clip(max=len(numbers) - 1)
    return np.where(numbers[position] == own, position, -1)


def _comparable(scores: Array, component: Index, scale: Array) -> Array:
    return scores / np.where(component[:, None] >= 0, scale[component], 1)


def _smallest_score(scores: Array, component: Index, scale: Array, is_present: Array) -> float:
    possible = is_present[component] & (component >= 0)[:, None]
    comparable = _comparable(scores, component, scale)
    return float(np.where(possible, comparable, np.inf).min(initial=np.inf))


def _probs(
    scores: Array, component: Index, scale: Array, is_present: Array, smallest: float
) -> Array:
    """Class probabilities, as `poisson_probs` computes them; uniform without a label."""
    present = is_present[component] & (component >= 0)[:, None]
    n_present = present.sum(1, keepdims=True)
    shifted = np.where(present, _comparable(scores, component, scale) - smallest, 0)
    odds = TYPICAL_PROB / (1 - TYPICAL_PROB) * (n_present - 1).clip(min=1)
    logits = np.where(present | (n_present == 0), shifted * np.log(odds), -np.inf)
    unnormalized = np.exp(logits - logits.max(1, keepdims=True))
    probs: Array = unnormalized / unnormalized.sum(1, keepdims=True)
    return probs.astype(scores.dtype)
