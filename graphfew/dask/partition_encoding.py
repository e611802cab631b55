"""Features of the texts or images of a folder of Parquet files, computed on all workers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from graphfew.dask.cluster_client import scatter_to_all
from graphfew.dask.parquet_partitions import find_columns, iterate_rows, list_partitions
from graphfew.dask.partition_jobs import PartitionSummary, Progress, run_key, write_partitions
from graphfew.encoders.item_encoder import FittedEncoder
from graphfew.errors import DatasetError

FEATURES_COLUMN = "features"
BATCH_SIZE = 4096


def encode_parquet(
    client: Any,
    encoder: FittedEncoder,
    source: str | Path,
    out: str | Path,
    column: str,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PartitionSummary:
    """Encode a column of texts or of image paths, partition by partition.

    Each worker loads a pretrained encoder once. Each file becomes a file with the column
    `features` instead of the encoded one, and all other columns, so that `label_parquet` can read
    the folder. A later run with the same settings skips finished files.

    Args:
        client: of Dask, see `dask_client`.
        encoder: such as `gf.encoders.find_encoder("hog").fit(images)`; encoders that learn from
            items, such as tfidf, are fitted to a sample before.
        source: folder of Parquet files that all workers see.
        out: folder to write to.
        column: texts, or paths of images that are absolute or relative to `source`.
        overwrite: whether files of other settings are replaced.
        progress: called with the number of finished partitions.

    Returns:
        What was written.

    Raises:
        MissingFileError: the folder has no Parquet files.
        DatasetError: the column is missing, or an item is missing or damaged.
        ProcessLostError: workers were lost again and again; finished files are kept.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.dask import encode_parquet
        >>> encoder = gf.encoders.find_encoder("tfidf").fit(["a red car", "a blue car"])
        >>> encode_parquet(client, encoder, "texts", "items", "text")  # doctest: +SKIP
    """
    partitions = list_partitions(source)
    find_columns(partitions, (column,))
    run = run_key("encode", encoder.name, encoder.cache_key, column)
    shared = scatter_to_all(client, encoder)
    tables_of = functools.partial(encoded_tables, column=column)
    return write_partitions(
        client,
        tables_of,
        [shared] * len(partitions),
        partitions,
        Path(out),
        run,
        overwrite=overwrite,
        progress=progress,
    )


def encoded_tables(path: Path, encoder: FittedEncoder, *, column: str) -> Iterator[Any]:
    """Yield the rows of a partition with features, a batch at a time."""
    arrow = import_module("pyarrow")
    names = import_module("pyarrow.parquet").read_schema(path).names
    for rows in iterate_rows(path, names, BATCH_SIZE):
        values = rows.column(column).to_pylist()
        if None in values:
            raise DatasetError(
                f"{path}: row {values.index(None)} of the column {column!r} is empty; remove it"
            )
        items = values
        if "image" in encoder.kinds and "text" not in encoder.kinds:
            items = [path.parent / value for value in values]
        features = encoder.encode(items).astype(np.float32)
        vectors = arrow.FixedSizeListArray.from_arrays(
            arrow.array(features.ravel()), features.shape[1]
        )
        yield rows.drop_columns([column]).append_column(FEATURES_COLUMN, vectors)
