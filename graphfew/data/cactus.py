"""CACTUs: tasks whose classes are clusters of unlabeled items."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew.core.episode import Episode
from graphfew.data.dataset import Dataset
from graphfew.data.draws import Index, TaskDraw, gather_tasks, task_number
from graphfew.data.int_range import IntOrRange, IntRange
from graphfew.data.query_protocols import PoolSampler, QuerySampler
from graphfew.data.query_samplers import QueryMixture
from graphfew.data.query_sampling import balanced
from graphfew.data.tasks import Tasks
from graphfew.errors import InvalidInputError

# The fraction of clusters that must be large enough for a task.
MIN_LARGE_CLUSTERS = 0.75


@dataclasses.dataclass(frozen=True, eq=False)
class _Clusters:
    """The large clusters of a partition.

    Attributes:
        tasks: tasks of a data set whose items are indices of the original items.
        items: `[m]` index in the original data set of each item in a large cluster.
        numbers: `[clusters]` number of each large cluster in the partition.
    """

    tasks: Tasks
    items: Index
    numbers: Index


@dataclasses.dataclass(frozen=True, eq=False)
class CactusTasks:
    """Tasks whose classes are clusters of unlabeled items; any method trains on them.

    A task draws one partition of the items, then its classes among the clusters with enough items,
    then items of these clusters. It depends on `(seed, index)` alone. The labels of the data set
    are not read; evaluate on plain `Tasks`.

    Args:
        data: the items.
        partitions: for each partition the cluster of each item, `[n]` int64, 0 or more; see
            `kmeans_partitions`.
        way: number of classes (int or range).
        shot: support items per class (int or range).
        query: queries per class (int or range), or a `QuerySampler`.
        unlabeled: additional unlabeled items per class (int or range).
        seed: seed of all draws.
        shuffle: whether nodes are in random order.

    Raises:
        InvalidInputError: a number out of range, a partition that does not fit the data, or one in
            which less than 75 % of the clusters have enough items for a task.

    Example:
        >>> import graphfew as gf
        >>> digits = gf.data.digits(size=8)
        >>> partitions = gf.data.kmeans_partitions(digits.x.flatten(1).float(), n_clusters=20)
        >>> tasks = CactusTasks(digits, partitions, way=4, query=3)
        >>> episode, target = tasks.batch(range(2))
        >>> episode.way, target.shape
        ((4, 4), torch.Size([24]))

    Source:
        Hsu, Levine, Finn, 2019, Unsupervised Learning via Meta-Learning.

    Deviations:
        Clusters that are too small are left out of a partition for all tasks.
    """

    data: Dataset
    partitions: Sequence[Index]
    way: IntOrRange = 5
    shot: IntOrRange = 1
    query: IntOrRange | QuerySampler = 5
    unlabeled: IntOrRange = 0
    seed: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.partitions:
            raise InvalidInputError("CactusTasks got no partitions; pass at least one")
        _ = self.clusters  # raises for partitions and numbers that do not fit

    def batch(self, indices: Iterable[SupportsIndex]) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Return several tasks as one episode.

        Args:
            indices: numbers of the tasks.

        Returns:
            The episode, and the class index of each query in node order, `[Q]` int64.

        Raises:
            IndexError: an index is negative.
            InvalidInputError: there are no indices.
        """
        return gather_tasks(self.data, [self.draw(index) for index in indices])

    def draw(self, index: SupportsIndex) -> TaskDraw:
        """Draw the items of one task.

        Args:
            index: number of the task.

        Returns:
            Items, labels and roles of the task; its classes are clusters of one partition.

        Raises:
            IndexError: the index is negative.
        """
        number = task_number(index)
        # `Tasks` uses the key (number,): the partition is independent of the draws inside it.
        sequence = np.random.SeedSequence(self.seed, spawn_key=(number, 1))
        partition = np.random.default_rng(sequence).integers(len(self.clusters))
        clusters = self.clusters[partition]
        draw = clusters.tasks.draw(number)
        return dataclasses.replace(
            draw, items=clusters.items[draw.items], classes=clusters.numbers[draw.classes]
        )

    def describe(self) -> dict[str, JSON]:
        """Return what defines these tasks, ready for JSON.

        Example:
            >>> import graphfew as gf
            >>> partition = np.arange(1797) % 10
            >>> CactusTasks(gf.data.digits(), [partition]).describe()["clusters"]
            [10]
        """
        described: dict[str, Any] = self.clusters[0].tasks.describe()
        return {
            **described,
            "source": "cactus",
            "clusters": [len(clusters.numbers) for clusters in self.clusters],
        }

    @cached_property
    def clusters(self) -> tuple[_Clusters, ...]:
        """The large clusters of each partition."""
        return tuple(
            self._large_clusters(number, partition)
            for number, partition in enumerate(self.partitions)
        )

    def _large_clusters(self, number: int, partition: Index) -> _Clusters:
        """The clusters of a partition that every task can be drawn from."""
        if partition.shape != (len(self.data),) or partition.min() < 0:
            raise InvalidInputError(
                f"partition {number} has shape {partition.shape} and values from "
                f"{partition.min(initial=0)}; it must hold a cluster, 0 or more, for each of the "
                f"{len(self.data)} items"
            )
        sizes = np.bincount(partition)
        n_clusters = np.count_nonzero(sizes)
        min_size = self._min_cluster_size()
        large = np.flatnonzero(sizes >= min_size)
        if len(large) < MIN_LARGE_CLUSTERS * n_clusters:
            raise InvalidInputError(
                f"partition {number} has {len(large)} clusters with the {min_size} items of a class "
                f"of a task, of {n_clusters} clusters; at least {MIN_LARGE_CLUSTERS:.0%} are needed: "
                "use fewer clusters, shots or queries"
            )
        items = np.flatnonzero(sizes[partition] >= min_size)
        # The items of this data set are their own numbers: the originals are gathered later, once.
        cluster_data = Dataset(
            name=self.data.name,
            split=self.data.split,
            x=torch.from_numpy(items)[:, None],
            y=torch.from_numpy(np.searchsorted(large, partition[items])),
            classes=tuple(map(str, large.tolist())),
        )
        tasks = Tasks(
            cluster_data,
            way=self.way,
            shot=self.shot,
            query=self.query,
            unlabeled=self.unlabeled,
            seed=self.seed,
            shuffle=self.shuffle,
        )
        return _Clusters(tasks, items, large)

    def _min_cluster_size(self) -> int:
        """The items that a cluster needs so that no task runs out of them."""
        shot = IntRange.of(self.shot, name="shot", minimum=1).high
        unlabeled = IntRange.of(self.unlabeled, name="unlabeled").high
        way = IntRange.of(self.way, name="way", minimum=2).low
        query = self.query
        if not isinstance(query, QuerySampler):
            query = balanced(IntRange.of(query, name="query", minimum=1))
        samplers = query.samplers if isinstance(query, QueryMixture) else (query,)
        return shot + unlabeled + max(_max_queries(sampler, way) for sampler in samplers)


def _max_queries(sampler: QuerySampler, way: int) -> int:
    """The largest number of queries that one of `way` classes has to supply."""
    if sampler.max_per_class is not None:
        return sampler.max_per_class
    # Classes with too few items draw on others, so only the total counts.
    n_classes = min(way, sampler.min_classes) if isinstance(sampler, PoolSampler) else way
    return -(-(sampler.max_total or 0) // n_classes)
