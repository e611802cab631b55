"""Predictions of a fitted classifier for a folder of Parquet files."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from graphfew.dask.cluster_client import dask_client, scatter_to_all
from graphfew.dask.parquet_partitions import (
    Array,
    ParquetColumns,
    features_of,
    find_columns,
    iterate_rows,
    list_partitions,
)
from graphfew.dask.partition_jobs import (
    PartitionSummary,
    Progress,
    check_out_folder,
    run_key,
    write_partitions,
)
from graphfew.errors import InvalidInputError
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.estimators.fit_digest import fit_digest
from graphfew.estimators.predicted_rows import predict_rows

BATCH_SIZE = 10_000


def predict_parquet(
    classifier: FewShotClassifier,
    source: str | Path,
    out: str | Path,
    *,
    client: Any = None,
    features: Sequence[str] = (),
    item: str | None = None,
    label: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PartitionSummary:
    """Predict the items of a folder of Parquet files, partition by partition.

    No process holds more than a batch of rows next to the classifier. Each partition becomes one
    file with the columns `item`, `label`, `confidence` and `similarity`. A file appears under its
    name when it is complete; a run that was interrupted continues where it ended.

    Args:
        classifier: fitted, with `transductive=False`.
        source: folder of Parquet files that all workers see.
        out: folder of the predictions.
        client: of Dask; None starts workers on this machine.
        features: column of vectors, or columns of numbers; see `find_columns`.
        item: column of item names; None numbers the rows of each file.
        label: column of labels, which is no feature; its labels are not used.
        overwrite: whether files that another classifier wrote are replaced.
        progress: called with the number of finished partitions.

    Returns:
        What was written.

    Raises:
        MissingDependencyError: Dask or pyarrow is not installed.
        InvalidInputError: the classifier is not fitted, or is transductive; or the folder contains
            files of other settings.
        DatasetError: a file is damaged, or a column is missing.
        ProcessLostError: workers were lost again and again; finished files are kept.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.dask import predict_parquet
        >>> classifier = gf.FewShotClassifier().fit([[0, 1], [1, 0]], ["cat", "dog"])
        >>> predict_parquet(classifier, "items", "labels")  # doctest: +SKIP
    """
    if not hasattr(classifier, "class_means_"):
        raise InvalidInputError("the classifier is not fitted; call fit first")
    if classifier.transductive:
        raise InvalidInputError(
            "the classifier is transductive, so predictions depend on all items of a call; use "
            "transductive=False for partitions"
        )
    out = Path(out)
    partitions = list_partitions(source)
    columns = find_columns(partitions, features, label, item)
    check_out_folder(out, partitions)
    run = run_key("predict", fit_digest(classifier), columns)
    tables_of = functools.partial(predicted_tables, columns=columns)
    if client is None:
        with dask_client() as local:
            return predict_parquet(
                classifier,
                source,
                out,
                client=local,
                features=features,
                item=item,
                label=label,
                overwrite=overwrite,
                progress=progress,
            )
    shared = scatter_to_all(client, classifier)
    return write_partitions(
        client,
        tables_of,
        [shared] * len(partitions),
        partitions,
        out,
        run,
        overwrite=overwrite,
        progress=progress,
    )


def predicted_tables(
    path: Path, classifier: FewShotClassifier, *, columns: ParquetColumns
) -> Iterator[Any]:
    """Yield the predictions of a partition, a batch of rows at a time."""
    names = [name for name in columns.names if name != columns.label]
    n_before = 0
    for rows in iterate_rows(path, names, BATCH_SIZE):
        x = features_of(rows, columns, path)
        if x.dtype == np.float16:
            x = x.astype(np.float32)
        yield predicted_table(classifier, x, item_names(rows, columns, path, n_before))
        n_before += len(x)


def item_names(rows: Any, columns: ParquetColumns, path: Path, n_before: int) -> list[str]:
    """Return the names of items: a column, or the file's name and the row."""
    if columns.item is None:
        return [f"{path.stem}:{n_before + row}" for row in range(rows.num_rows)]
    return [str(name) for name in rows.column(columns.item).to_pylist()]


def predicted_table(classifier: FewShotClassifier, x: Array, names: Sequence[str]) -> Any:
    """Return the predictions of items as an Arrow table."""
    arrow = import_module("pyarrow")
    predicted = predict_rows(classifier, x)
    return arrow.table(
        {
            "item": arrow.array(names, arrow.string()),
            "label": arrow.array(predicted.labels.tolist()),
            "confidence": arrow.array(predicted.probs.max(1).astype(np.float64)),
            "similarity": arrow.array(predicted.similarity.astype(np.float64)),
        }
    )
