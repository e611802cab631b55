"""The labels of partitions: a few labeled items among many, found without all labels in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.data_warning import warn_data
from graphfew.dask.parquet_partitions import (
    Array,
    ParquetColumns,
    Partition,
    features_of,
    import_parquet,
    iterate_rows,
)
from graphfew.data.label_marks import SuggestMarks
from graphfew.data.label_values import label_values
from graphfew.data.labels import class_indices, resolve_labels
from graphfew.data.table_items import label_texts
from graphfew.errors import DatasetError

BATCH_SIZE = 100_000
# Labels are resolved by their distinct values; a few copies show which ones are frequent.
COPIES = 3


@dataclasses.dataclass(frozen=True, eq=False)
class PartitionLabels:
    """The labels of all partitions.

    Attributes:
        classes: names of the classes, sorted.
        class_of: class index of each label text; texts that mark unlabeled items are absent.
        rows: for each partition the labeled rows, ascending.
        class_index: for each partition the classes of these rows.
    """

    classes: tuple[str, ...]
    class_of: dict[str, int]
    rows: tuple[NDArray[np.int64], ...]
    class_index: tuple[NDArray[np.int64], ...]

    @property
    def n_labeled(self) -> int:
        """Number of labeled items."""
        return sum(map(len, self.rows))


def read_labels(
    client: Any,
    partitions: Sequence[Partition],
    label: str,
    unlabeled_marks: Any = None,
    suggest: SuggestMarks | None = None,
) -> PartitionLabels:
    """Read the labels of partitions on the workers.

    Args:
        client: of Dask.
        partitions: the files.
        label: the column of labels.
        unlabeled_marks: see `resolve_labels`.
        suggest: see `resolve_labels`.

    Returns:
        The labels of the labeled items.

    Raises:
        DatasetError: a label is neither text nor an integer, or fewer than two classes have one.
    """
    counts: dict[str, int] = {}
    found = [client.submit(_count_texts, part.path, label) for part in partitions]
    for part in client.gather(found):
        for text, count in part.items():
            counts[text] = counts.get(text, 0) + count
    texts = [text for text, count in counts.items() for _ in range(min(count, COPIES))]
    resolved = resolve_labels(label_values(texts), unlabeled_marks, suggest=suggest)
    warn_data(resolved.notes)
    classes, index = class_indices(resolved)
    class_of = {text: int(number) for text, number in zip(texts, index, strict=True) if number >= 0}
    if len(classes) < 2:
        raise DatasetError(
            f"{partitions[0].path.parent} has labels of {len(classes)} classes in the column "
            f"{label!r}; at least two classes need a label"
        )
    labeled = [client.submit(_labeled_rows, part.path, label, class_of) for part in partitions]
    pairs = client.gather(labeled)
    return PartitionLabels(
        tuple(map(str, classes)),
        class_of,
        tuple(rows for rows, _ in pairs),
        tuple(numbers for _, numbers in pairs),
    )


def given_classes(path: Path, labels: Any, class_of: dict[str, int]) -> NDArray[np.int64]:
    """Return the class index of each value of a column of labels; -1 if unlabeled."""
    distinct, codes = _encode(path, labels)
    numbers = np.array([class_of.get(text, -1) for text in distinct] or [-1])
    out: NDArray[np.int64] = numbers[codes]
    return out


def read_rows(path: Path, columns: ParquetColumns, rows: NDArray[np.int64]) -> Array:
    """Read the features of some rows of a partition, `[len(rows), F]`; at least one row, ascending."""
    parts, n_before = [], 0
    for table in iterate_rows(path, columns.features, BATCH_SIZE):
        start, end = np.searchsorted(rows, [n_before, n_before + table.num_rows])
        if start < end:
            chosen = table.take(rows[start:end] - n_before)
            parts.append(features_of(chosen, columns, path))
        n_before += table.num_rows
    return np.concatenate(parts)


def _encode(path: Path, labels: Any) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The distinct values of a column as texts, and the position of each value among them."""
    encoded = labels.combine_chunks().dictionary_encode("encode")
    distinct = label_texts(str(path), encoded.dictionary.to_pylist())
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return distinct, codes


def _count_texts(path: Path, label: str) -> dict[str, int]:
    column = import_parquet().read_table(path, columns=[label]).column(label)
    distinct, codes = _encode(path, column)
    counts = np.bincount(codes, minlength=len(distinct))
    totals: dict[str, int] = {}
    for text, count in zip(distinct, counts.tolist(), strict=True):
        totals[text] = totals.get(text, 0) + count
    return totals


def _labeled_rows(
    path: Path, label: str, class_of: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    column = import_parquet().read_table(path, columns=[label]).column(label)
    class_index = given_classes(path, column, class_of)
    rows = np.flatnonzero(class_index >= 0)
    return rows, class_index[rows]
