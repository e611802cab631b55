"""Class probabilities of distributed features by methods that propagate labels on a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew.dask.graph_shards import (
    cosine_power_shards,
    knn_gaussian_shards,
    self_tuning_shards,
)
from graphfew.dask.neighbor_shards import (
    BuildIndex,
    CosineIndex,
    ExactIndex,
    FeatureShards,
    as_tensor,
    cell_index,
    cosine_cell_index,
)
from graphfew.dask.parquet_partitions import (
    Array,
    ParquetColumns,
    Partition,
    check_same_width,
    read_features,
)
from graphfew.dask.shard_labels import one_hot_labels
from graphfew.dask.shard_poisson import poisson_shards
from graphfew.dask.shard_solvers import harmonic_shards, spread_shards
from graphfew.errors import InvalidInputError
from graphfew.propagation.feature_transforms import power_unit, unit_rows
from graphfew.propagation.search_choice import EXACT_NODES

Index = NDArray[np.int64]
Propagate = Callable[[Any, FeatureShards, Index, Index, int, bool], list[Any]]


def propagate_shards(
    client: Any,
    shards: FeatureShards,
    rows: Index,
    class_index: Index,
    n_classes: int,
    *,
    method: str = "poisson",
    exact: bool | None = None,
) -> list[Any]:
    """Propagate labels to all items, as the method of that name does in one process.

    Features are centered and scaled to length 1, neighbors are searched among the items of all
    shards, and the equations of the method are solved on the distributed graph.

    Args:
        client: of Dask.
        shards: features of the items.
        rows: `[m]` the labeled items, which count through all blocks.
        class_index: `[m]` their classes.
        n_classes: number of classes.
        method: "poisson", "label_propagation" or "label_spreading", with default arguments.
        exact: whether neighbors are searched exactly in every shard, or in its k-means cells; None
            for exact search up to 30,000 items, as in one process.

    Returns:
        The future of the class probabilities `[n, C]` of each block.

    Raises:
        InvalidInputError: another method, no labels, or fewer than two items.
        NumericalError: a solver did not converge.

    Example:
        >>> from graphfew.dask import propagate_shards
        >>> probs = propagate_shards(client, shards, rows, classes, 2)  # doctest: +SKIP
    """
    if method not in PROPAGATIONS:
        raise InvalidInputError(
            f"method is {method!r}; methods on shards are {', '.join(PROPAGATIONS)}"
        )
    normalized = normalize_shards(client, shards)
    if exact is None:
        exact = shards.n_items <= EXACT_NODES
    return PROPAGATIONS[method](client, normalized, rows, class_index, n_classes, exact)


def read_shards(
    client: Any, partitions: Sequence[Partition], columns: ParquetColumns
) -> FeatureShards:
    """Read each partition on a worker, and keep its features there.

    Raises:
        InvalidInputError: partitions have different numbers of features.
    """
    blocks = [client.submit(read_features, part.path, columns) for part in partitions]
    widths = client.gather([client.submit(_width, block) for block in blocks])
    width = check_same_width(widths, partitions)
    return FeatureShards(tuple(blocks), tuple(part.n_rows for part in partitions), width)


def normalize_shards(client: Any, shards: FeatureShards) -> FeatureShards:
    """Subtract the mean of all items and scale to length 1, as methods that propagate labels do.

    Raises:
        InvalidInputError: features are not finite.
    """
    sums = client.gather([client.submit(_sum_unit, block) for block in shards.blocks])
    center = (np.sum(sums, axis=0) / shards.n_items).astype(np.float32)
    if not np.isfinite(center).all():
        raise InvalidInputError("features contain NaN or infinity; remove or replace these items")
    blocks = [client.submit(_center_and_scale, block, center) for block in shards.blocks]
    return FeatureShards(tuple(blocks), shards.sizes, shards.n_features)


def _spread(
    client: Any,
    shards: FeatureShards,
    rows: Index,
    class_index: Index,
    n_classes: int,
    exact: bool,
) -> list[Any]:
    build_index = CosineIndex if exact else cosine_cell_index
    graph = cosine_power_shards(client, shards, build_index=build_index)
    labels = one_hot_labels(rows, class_index, n_classes, class_balanced=True)
    return [
        client.submit(normalize_scores, block) for block in spread_shards(client, graph, labels)
    ]


def _harmonic(
    client: Any,
    shards: FeatureShards,
    rows: Index,
    class_index: Index,
    n_classes: int,
    exact: bool,
) -> list[Any]:
    graph = self_tuning_shards(client, shards, build_index=_euclidean_index(exact))
    labels = one_hot_labels(rows, class_index, n_classes)
    blocks = harmonic_shards(client, graph, labels)
    return [client.submit(normalize_scores, block) for block in blocks]


def _poisson(
    client: Any,
    shards: FeatureShards,
    rows: Index,
    class_index: Index,
    n_classes: int,
    exact: bool,
) -> list[Any]:
    graph = knn_gaussian_shards(client, shards, build_index=_euclidean_index(exact))
    return poisson_shards(client, graph, one_hot_labels(rows, class_index, n_classes))


PROPAGATIONS: Mapping[str, Propagate] = MappingProxyType(
    {"poisson": _poisson, "label_propagation": _harmonic, "label_spreading": _spread}
)


def _euclidean_index(exact: bool) -> BuildIndex:
    return ExactIndex if exact else cell_index


def normalize_scores(scores: Array) -> Array:
    """Divide scores `[n, C]` by their sum; rows without a positive score are uniform."""
    # The solvers can return values slightly below zero.
    positive = scores.clip(min=0)
    total = positive.sum(1, keepdims=True)
    uniform = 1 / scores.shape[1]
    probs: Array = np.divide(positive, total, out=np.full_like(positive, uniform), where=total > 0)
    return probs


def _width(block: Array) -> int:
    return int(block.shape[1])


def _sum_unit(block: Array) -> Array:
    out: Array = power_unit(as_tensor(block), 1.0).sum(0, dtype=torch.float64).numpy()
    return out


def _center_and_scale(block: Array, center: Array) -> Array:
    x = power_unit(as_tensor(block), 1.0).float() - torch.from_numpy(center)
    out: Array = unit_rows(x).numpy()
    return out


def partition_state(partitions: Sequence[Partition]) -> list[tuple[str, int, int]]:
    """Name, size and time of each file, by which changed items are recognized."""
    states = [(part.path.name, Path(part.path).stat()) for part in partitions]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]
