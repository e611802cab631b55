"""A classifier that is fitted to the labeled items of partitions and to a sample of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from graphfew.dask.parquet_partitions import Array, ParquetColumns, Partition, check_same_width
from graphfew.dask.partition_labels import PartitionLabels, read_rows
from graphfew.errors import InvalidInputError
from graphfew.estimators.classifier import FewShotClassifier


@runtime_checkable
class SampleOptions(Protocol):
    """The options that `fit_sample` reads; see `FolderOptions`."""

    @property
    def unknown_threshold(self) -> float | str | None:
        """Similarity below which an item is unknown."""

    @property
    def fit_items(self) -> int:
        """Number of items that the classifier is fitted to."""

    @property
    def seed(self) -> int:
        """Seed of the sample."""


def fit_sample(
    client: Any,
    partitions: Sequence[Partition],
    columns: ParquetColumns,
    labels: PartitionLabels,
    options: SampleOptions,
) -> FewShotClassifier:
    """Fit a classifier to the labeled items and to a sample of the others.

    Raises:
        InvalidInputError: there are more labeled items than `fit_items`, or features are invalid.
    """
    rows = sample_rows(partitions, labels, options)
    chosen = [(part, picked) for part, picked in zip(partitions, rows, strict=True)]
    used = [(part, picked) for part, picked in chosen if len(picked)]
    futures = [client.submit(read_rows, part.path, columns, picked) for part, picked in used]
    blocks = client.gather(futures)
    check_same_width([block.shape[1] for block in blocks], [part for part, _ in used])
    class_index = []
    for picked, labeled, given in zip(rows, labels.rows, labels.class_index, strict=True):
        index = np.full(len(picked), -1)
        index[np.searchsorted(picked, labeled)] = given
        class_index.append(index)
    x: Array = np.concatenate(blocks)
    if x.dtype == np.float16:
        x = x.astype(np.float32)
    y = np.concatenate(class_index)
    classifier = FewShotClassifier(
        unknown_threshold=options.unknown_threshold, unlabeled_marks=(-1,)
    )
    return classifier.fit(x, y)


def sample_rows(
    partitions: Sequence[Partition], labels: PartitionLabels, options: SampleOptions
) -> list[NDArray[np.int64]]:
    """Choose the rows of each partition that the classifier is fitted to.

    Args:
        partitions: the files.
        labels: the labels, whose rows are all chosen.
        options: `fit_items` and `seed`.

    Returns:
        Ascending rows of each partition; the unlabeled ones are a uniform sample of all.

    Raises:
        InvalidInputError: there are more labeled items than `fit_items`.
    """
    n_sampled = options.fit_items - labels.n_labeled
    if n_sampled < 0:
        raise InvalidInputError(
            f"{labels.n_labeled} items have a label, and fit_items is {options.fit_items}; "
            "increase it, which takes memory in this process, or use another method"
        )
    generator = np.random.default_rng(options.seed)
    n_unlabeled = [
        part.n_rows - len(rows) for part, rows in zip(partitions, labels.rows, strict=True)
    ]
    n_sampled = min(n_sampled, sum(n_unlabeled))
    counts = generator.multivariate_hypergeometric(n_unlabeled, n_sampled, method="marginals")
    chosen = []
    for part, labeled, count in zip(partitions, labels.rows, counts.tolist(), strict=True):
        is_unlabeled = np.ones(part.n_rows, dtype=bool)
        is_unlabeled[labeled] = False
        sampled = generator.choice(np.flatnonzero(is_unlabeled), count, replace=False)
        chosen.append(np.sort(np.concatenate([labeled, sampled])))
    return chosen
