"""Labels for all items of a folder of Parquet files, from the few that have one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.dask.cluster_client import lost_worker_errors, scatter_to_all
from graphfew.dask.label_columns import label_columns
from graphfew.dask.parquet_partitions import (
    Array,
    ParquetColumns,
    Partition,
    features_of,
    find_columns,
    iterate_rows,
    list_partitions,
)
from graphfew.dask.partition_jobs import (
    PartitionSummary,
    Progress,
    check_out_folder,
    open_partitions,
    run_key,
    write_partitions,
)
from graphfew.dask.partition_labels import (
    PartitionLabels,
    given_classes,
    read_labels,
)
from graphfew.dask.partition_prediction import BATCH_SIZE, item_names
from graphfew.dask.sample_fit import fit_sample
from graphfew.dask.shard_labeling import (
    PROPAGATIONS,
    partition_state,
    propagate_shards,
    read_shards,
)
from graphfew.data.label_marks import SuggestMarks
from graphfew.errors import InvalidInputError
from graphfew.estimators.classifier import FewShotClassifier

AUTO = "auto"
# Labeled and unlabeled items that the classifier is fitted to, in this process.
FIT_ITEMS = 20_000


@dataclasses.dataclass(frozen=True)
class FolderOptions:
    """How the items of a folder are read and labeled.

    Attributes:
        method: "auto", "poisson", "label_propagation" or "label_spreading".
        features: column of vectors, or columns of numbers; empty to find them.
        item: column of item names; None numbers the rows of each file.
        unlabeled_marks: labels of unlabeled items; None takes the default ones.
        unknown_threshold: with "auto", the similarity below which an item is unknown, or "auto".
        fit_items: with "auto", the number of items that the classifier is fitted to; the
            labeled ones, and a sample of the others.
        exact: with other methods, whether neighbors are searched exactly; None for exact search up
            to 30,000 items.
        seed: of the sample.
        overwrite: whether files of other settings are replaced.

    Example:
        >>> from graphfew.dask import FolderOptions
        >>> FolderOptions(method="poisson").fit_items
        20000
    """

    method: str = AUTO
    features: tuple[str, ...] = ()
    item: str | None = None
    unlabeled_marks: tuple[str, ...] | None = None
    unknown_threshold: float | str | None = None
    fit_items: int = FIT_ITEMS
    exact: bool | None = None
    seed: int = 0
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class _Folder:
    """A folder of items whose labels have been read."""

    partitions: tuple[Partition, ...]
    columns: ParquetColumns
    labels: PartitionLabels
    run: str


def label_parquet(
    client: Any,
    source: str | Path,
    out: str | Path,
    label: str = "label",
    options: FolderOptions | None = None,
    *,
    suggest: SuggestMarks | None = None,
    progress: Progress | None = None,
) -> PartitionSummary:
    """Label the items of a folder of Parquet files on the workers of a cluster.

    With the method "auto", a `FewShotClassifier` is fitted to the labeled items and a sample of
    the others, and predicts each partition. The other methods propagate the labels on the neighbor
    graph of all items, which the workers hold in shards, one per file.

    Each file gets a file of the same name with the columns of `graphfew label`. It appears when it
    is complete, and a later run with the same settings skips it.

    Args:
        client: of Dask, see `dask_client`.
        source: folder of Parquet files that all workers see.
        out: folder to write to.
        label: the column of labels, most of them unknown.
        options: how items are read and labeled; None for the defaults.
        suggest: describes how the caller sets marks of unlabeled items; None for the argument.
        progress: called with the number of finished partitions.

    Returns:
        What was written.

    Raises:
        InvalidInputError: an option is invalid, or `out` has files of other settings.
        MissingFileError: the folder has no Parquet files.
        DatasetError: a column is missing, or fewer than two classes have a label.
        ProcessLostError: workers were lost again and again; finished files are kept.

    Example:
        >>> from graphfew.dask import dask_client, label_parquet
        >>> with dask_client() as client:  # doctest: +SKIP
        ...     label_parquet(client, "items", "labels")
    """
    options = options or FolderOptions()
    out = Path(out)
    _check_options(options)
    partitions = list_partitions(source)
    columns = find_columns(partitions, options.features, label, options.item)
    check_out_folder(out, partitions)
    with lost_worker_errors(f"labeling {source}"):
        labels = read_labels(client, partitions, label, options.unlabeled_marks, suggest)
        run = _run_key(partitions, columns, labels, options)
        folder = _Folder(partitions, columns, labels, run)
        write = functools.partial(
            write_partitions,
            client,
            partitions=partitions,
            out=out,
            run=run,
            overwrite=options.overwrite,
            progress=progress,
        )
        # Without open partitions there is nothing to compute.
        if not open_partitions(partitions, out, run, overwrite=options.overwrite):
            return write(_no_tables, [None] * len(partitions))
        if options.method != AUTO:
            return write(
                functools.partial(_propagated_tables, columns=columns, labels=labels),
                _propagate(client, folder, options),
            )
        classifier = fit_sample(client, partitions, columns, labels, options)
        shared = scatter_to_all(client, classifier)
        tables_of = functools.partial(_classified_tables, columns=columns, labels=labels)
        return write(tables_of, [shared] * len(partitions))


def _propagate(client: Any, folder: _Folder, options: FolderOptions) -> list[Any]:
    shards = read_shards(client, folder.partitions, folder.columns)
    labels = folder.labels
    rows = [offset + part for offset, part in zip(shards.offsets, labels.rows, strict=False)]
    return propagate_shards(
        client,
        shards,
        np.concatenate(rows),
        np.concatenate(labels.class_index),
        len(labels.classes),
        method=options.method,
        exact=options.exact,
    )


def _classified_tables(
    path: Path, classifier: FewShotClassifier, *, columns: ParquetColumns, labels: PartitionLabels
) -> Iterator[Any]:
    threshold = classifier.unknown_threshold
    if isinstance(threshold, str):
        threshold = classifier.auto_threshold_
    for rows, names, class_index in _batches(path, columns.names, columns, labels):
        x = features_of(rows, columns, path)
        if x.dtype == np.float16:
            x = x.astype(np.float32)
        probs, similarity = classifier.predict_proba(x), classifier.similarity(x)
        yield label_columns(names, probs, class_index, labels.classes, similarity, threshold)


def _propagated_tables(
    path: Path, probs: Array, *, columns: ParquetColumns, labels: PartitionLabels
) -> Iterator[Any]:
    n_before = 0
    read = [name for name in columns.names if name not in columns.features]
    for rows, names, class_index in _batches(path, read, columns, labels):
        end = n_before + rows.num_rows
        yield label_columns(names, probs[n_before:end], class_index, labels.classes)
        n_before = end


def _no_tables(path: Path, value: Any) -> Iterator[Any]:
    raise AssertionError(f"{path} is finished")


def _batches(
    path: Path, read: Sequence[str], columns: ParquetColumns, labels: PartitionLabels
) -> Iterator[tuple[Any, list[str], NDArray[np.int64]]]:
    """The rows of a partition, their names, and their given classes."""
    assert columns.label is not None
    n_before = 0
    for rows in iterate_rows(path, read, BATCH_SIZE):
        names = item_names(rows, columns, path, n_before)
        yield rows, names, given_classes(path, rows.column(columns.label), labels.class_of)
        n_before += rows.num_rows


def _run_key(
    partitions: Sequence[Partition],
    columns: ParquetColumns,
    labels: PartitionLabels,
    options: FolderOptions,
) -> str:
    settings = dataclasses.replace(options, overwrite=False)
    # Labels of a partition depend on the items of all others.
    return run_key(
        "label",
        settings,
        columns,
        sorted(labels.class_of.items()),
        partition_state(partitions),
    )


def _check_options(options: FolderOptions) -> None:
    method, threshold = options.method, options.unknown_threshold
    if method != AUTO and method not in PROPAGATIONS:
        raise InvalidInputError(
            f"method is {method!r}; on partitions it must be auto, {', '.join(PROPAGATIONS)}"
        )
    if threshold is not None and method != AUTO:
        raise InvalidInputError(
            f"unknown_threshold is {threshold!r}, but {method} has no similarity; use the method "
            "auto, or omit it"
        )
    if options.fit_items < 2:
        raise InvalidInputError(f"fit_items is {options.fit_items}; it must be at least 2")
