"""Folders of Parquet files as partitions: their columns, and their rows as arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.errors import (
    DatasetError,
    InvalidInputError,
    MissingDependencyError,
    MissingFileError,
)

Array = NDArray[Any]
SUFFIX = ".parquet"
# Written by pandas for an index, which is no feature.
INDEX_PREFIX = "__index_level_"


@dataclasses.dataclass(frozen=True)
class Partition:
    """One Parquet file.

    Attributes:
        path: the file.
        n_rows: number of items.
    """

    path: Path
    n_rows: int


@dataclasses.dataclass(frozen=True)
class ParquetColumns:
    """The roles of the columns of partitions.

    Attributes:
        features: one column of vectors, or columns of numbers.
        label: column of labels, if there is one; else None.
        item: column of item names; None numbers the rows of each file.

    Example:
        >>> from graphfew.dask import ParquetColumns
        >>> ParquetColumns(("embedding",), "label").item is None
        True
    """

    features: tuple[str, ...]
    label: str | None = None
    item: str | None = None

    @property
    def names(self) -> list[str]:
        """All columns that are read."""
        others = [name for name in (self.label, self.item) if name is not None]
        return [*self.features, *others]


def list_partitions(folder: str | Path) -> tuple[Partition, ...]:
    """List the Parquet files of a folder, sorted by name; only their footers are read.

    Args:
        folder: a folder that all workers see under the same path.

    Returns:
        The partitions that have rows.

    Raises:
        MissingFileError: the folder does not exist, or contains no Parquet file.
        DatasetError: a file is not Parquet.

    Example:
        >>> from graphfew.dask import list_partitions
        >>> [partition.n_rows for partition in list_partitions("items")]  # doctest: +SKIP
        [1000, 1000]
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))
    if not paths:
        raise MissingFileError(
            f"{folder} contains no file that ends in {SUFFIX}; give a folder of Parquet files"
        )
    parquet = import_parquet()
    partitions = []
    for path in paths:
        try:
            n_rows = parquet.read_metadata(path).num_rows
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{path} is no Parquet file, or it is damaged; replace or remove it"
            ) from error
        if n_rows:
            partitions.append(Partition(path, n_rows))
    if not partitions:
        raise DatasetError(f"the Parquet files of {folder} have no rows; give at least one item")
    return tuple(partitions)


def find_columns(
    partitions: Sequence[Partition],
    features: Sequence[str] = (),
    label: str | None = None,
    item: str | None = None,
) -> ParquetColumns:
    """Check the columns of all partitions, and find the features if they are not given.

    Args:
        partitions: the files.
        features: column of vectors, or columns of numbers; empty takes the only column of vectors,
            or else all columns of numbers but the label and the name.
        label: column of labels.
        item: column of item names.

    Returns:
        The columns.

    Raises:
        DatasetError: a column is missing or has another type, or several could be meant.

    Example:
        >>> from graphfew.dask import find_columns, list_partitions
        >>> find_columns(list_partitions("items"), label="label").features  # doctest: +SKIP
        ('embedding',)
    """
    parquet = import_parquet()
    first = parquet.read_schema(partitions[0].path)
    if not features:
        features = _guess_features(first, {label, item}, partitions[0].path)
    columns = ParquetColumns(tuple(features), label, item)
    for partition in partitions:
        schema = parquet.read_schema(partition.path)
        for name in columns.names:
            if name not in schema.names:
                raise DatasetError(
                    f"{partition.path} has no column {name!r}; its columns are "
                    f"{', '.join(schema.names)}; all files need the same columns"
                )
    return columns


def read_features(path: Path, columns: ParquetColumns) -> Array:
    """Read the features of a partition, `[n, F]` in their dtype.

    Raises:
        DatasetError: rows without a vector, or with another length.
    """
    table = import_parquet().read_table(path, columns=list(columns.features))
    return features_of(table, columns, path)


def iterate_rows(path: Path, names: Sequence[str], batch_size: int) -> Iterator[Any]:
    """Yield Arrow tables of at most `batch_size` rows, without reading the file as a whole."""
    arrow = import_module("pyarrow")
    with import_parquet().ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size, columns=list(names)):
            yield arrow.Table.from_batches([batch])


def features_of(table: Any, columns: ParquetColumns, path: Path) -> Array:
    """Convert the feature columns of an Arrow table to `[n, F]`."""
    types = import_module("pyarrow").types
    if len(columns.features) == 1:
        column = table.column(columns.features[0]).combine_chunks()
        if _is_vector(column.type):
            if column.null_count:
                raise DatasetError(
                    f"{path}: {column.null_count} rows of {columns.features[0]!r} have no vector; "
                    "remove these rows"
                )
            return _vectors(column, path)
    parts = []
    for name in columns.features:
        column = table.column(name)
        if column.null_count or not (
            types.is_floating(column.type) or types.is_integer(column.type)
        ):
            raise DatasetError(
                f"{path}: the column {name!r} is of type {column.type} with {column.null_count} "
                "empty values; features must be numbers in every row"
            )
        parts.append(column.to_numpy())
    out: Array = np.stack(parts, axis=1)
    return out


def check_same_width(widths: Sequence[int], partitions: Sequence[Partition]) -> int:
    """Return the number of features, which must be that of every partition.

    Raises:
        InvalidInputError: it is not.
    """
    for width, partition in zip(widths, partitions, strict=True):
        if width != widths[0]:
            raise InvalidInputError(
                f"{partition.path} has {width} features and {partitions[0].path} has {widths[0]}; "
                "all partitions need the same number"
            )
    return widths[0]


def import_parquet() -> Any:
    """Import `pyarrow.parquet`, or raise an error that names the extra.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        return import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'Parquet needs pyarrow, which is not installed; pip install "graphfew[dask]"'
        ) from error


def _is_vector(kind: Any) -> bool:
    types = import_module("pyarrow").types
    is_list = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    return bool(is_list)


def _vectors(column: Any, path: Path) -> Array:
    values = column.flatten().to_numpy(zero_copy_only=False)
    n_rows = len(column)
    width = len(values) // max(n_rows, 1)
    lengths = import_module("pyarrow.compute").list_value_length(column).to_numpy()
    if width == 0 or not (lengths == width).all():
        raise DatasetError(
            f"{path}: vectors have lengths from {lengths.min()} to {lengths.max()}; all must have "
            "the same"
        )
    out: Array = values.reshape(n_rows, width)
    return out


def _guess_features(schema: Any, taken: set[str | None], path: Path) -> tuple[str, ...]:
    types = import_module("pyarrow").types
    fields = [
        field
        for field in schema
        if field.name not in taken and not field.name.startswith(INDEX_PREFIX)
    ]
    vectors = [field.name for field in fields if _is_vector(field.type)]
    numbers = [
        field.name
        for field in fields
        if types.is_floating(field.type) or types.is_integer(field.type)
    ]
    if len(vectors) == 1:
        return (vectors[0],)
    if vectors or not numbers:
        raise DatasetError(
            f"{path} has {len(vectors)} columns of vectors and {len(numbers)} of numbers; name the "
            "columns of features"
        )
    return tuple(numbers)
