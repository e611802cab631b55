"""Tables of other libraries: Parquet, pandas, polars, Arrow, Hugging Face, and records of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.data.io import archives
from graphfew.data.io.raw_table import Column, RawTable, column_type, is_blank
from graphfew.data.io.text_files import find_encoding, open_text
from graphfew.data.label_values import is_arrow, is_arrow_column
from graphfew.data.problems import ItemProblem
from graphfew.errors import DatasetError, InvalidTypeError, MissingDependencyError

Array = NDArray[Any]
FRAME_ORIGIN = "the table"


def read_parquet(path: Path) -> RawTable:
    """Read a Parquet file.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        FileNotFoundError: no such file.
        DatasetError: the file is not Parquet.
    """
    arrow = _import_pyarrow("reading Parquet")
    parquet = import_module("pyarrow.parquet")
    with path.open("rb") as file:
        try:
            # Before reading: run lengths let a small file claim billions of equal numbers.
            _check_stated_size(path, parquet.read_metadata(file))
            file.seek(0)
            table = parquet.read_table(file)
        except (arrow.ArrowException, OSError, MemoryError, OverflowError) as error:
            raise DatasetError(
                f"{path} cannot be read as Parquet ({archives.one_line(error)}); write it again"
            ) from error
    return _from_arrow(table, str(path))


def read_json(path: Path) -> RawTable:
    """Read records of JSON: one object in each line, or one list of objects.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file has no objects. A line that is not JSON is a problem of its item.
    """
    encoding, _ = find_encoding(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    with open_text(path, encoding) as file:
        if ".json" in suffixes:
            return _from_records(path, _parse_list(path, file.read()), lambda row: f"row {row}")
        lines = [(number, line) for number, line in enumerate(file, 1) if line.strip()]
    records, problems = [], []
    for row, (number, line) in enumerate(lines):
        record = _parse_record(line)
        if record is None:
            problems.append(ItemProblem(row, f"line {number}", "is not an object of JSON"))
        records.append(record or {})
    numbers = [number for number, _ in lines]
    return _from_records(path, records, lambda row: f"line {numbers[row]}", problems)


def is_frame(table: Any) -> bool:
    """Return whether a value is a table that `read_frame` accepts.

    Example:
        >>> import pandas
        >>> is_frame(pandas.DataFrame({"a": [1]})), is_frame("items.csv")
        (True, False)
    """
    is_pandas = hasattr(table, "iloc") and hasattr(table, "columns")
    is_arrow_table = is_arrow(table) and not is_arrow_column(table)
    return is_pandas or is_arrow_table or _to_arrow(table) is not None


def read_frame(table: Any) -> RawTable:
    """Convert a table of pandas, polars, Arrow or Hugging Face.

    Args:
        table: the items, one in each row.

    Raises:
        InvalidTypeError: it is another object.
        MissingDependencyError: polars or Hugging Face without pyarrow.

    Example:
        >>> import pandas
        >>> read_frame(pandas.DataFrame({"a": [1, 2]})).columns["a"]
        array([1., 2.])
    """
    if hasattr(table, "iloc") and hasattr(table, "columns"):
        columns = {
            str(name): _pandas_column(table.iloc[:, position])
            for position, name in enumerate(table.columns)
        }
        _check_names(FRAME_ORIGIN, [str(name) for name in table.columns])
        return _with_numbers(FRAME_ORIGIN, columns, lambda row: f"row {row}")
    if is_arrow(table) and not is_arrow_column(table):
        return _from_arrow(table, FRAME_ORIGIN)
    convert = _to_arrow(table)
    if convert is None:
        raise InvalidTypeError(
            f"the items are a {type(table).__name__}; give a path, or a table of pandas, polars, "
            "Arrow or Hugging Face"
        )
    _import_pyarrow("reading a table of polars or Hugging Face")
    return _from_arrow(convert(), FRAME_ORIGIN, _class_names(table))


def _to_arrow(table: Any) -> Callable[[], Any] | None:
    # A data set of Hugging Face; its indices are applied by slicing.
    if hasattr(table, "features") and hasattr(table, "with_format"):
        return lambda: table.with_format("arrow")[:]
    # polars, by its method: it is an optional dependency.
    if hasattr(table, "to_arrow") and hasattr(table, "columns"):
        convert: Callable[[], Any] = table.to_arrow
        return convert
    return None


def _class_names(table: Any) -> dict[str, Sequence[str]]:
    """Names of classes that Hugging Face stores as integers, by column."""
    features = getattr(table, "features", None)
    if not isinstance(features, Mapping):
        return {}
    return {name: kind.names for name, kind in features.items() if hasattr(kind, "names")}


def _from_arrow(
    table: Any, origin: str, class_names: Mapping[str, Sequence[str]] | None = None
) -> RawTable:
    _check_names(origin, table.column_names)
    columns: dict[str, Column] = {name: _arrow_column(table[name]) for name in table.column_names}
    for name, names in (class_names or {}).items():
        indices = table[name].to_pylist()
        # Hugging Face marks unlabeled items by -1.
        columns[name] = [
            None if index is None or not 0 <= index < len(names) else names[index]
            for index in indices
        ]
    return _with_numbers(origin, columns, lambda row: f"row {row}")


def _arrow_column(column: Any) -> Column:
    types = import_module("pyarrow").types
    kind = column.type
    if types.is_null(kind):
        return [None] * len(column)
    # Arrow counts dates and times as primitive, too.
    is_number = types.is_primitive(kind) and not types.is_boolean(kind)
    if is_number and not types.is_temporal(kind):
        return _to_float64(column.to_numpy())
    if types.is_decimal(kind):
        return [None if value is None else float(value) for value in column.to_pylist()]
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if is_list and types.is_primitive(kind.value_type):
        matrix = _arrow_matrix(column)
        if matrix is not None:
            return matrix
    values: list[Any] = column.to_pylist()
    return values


def _arrow_matrix(column: Any) -> NDArray[np.float64] | None:
    """A column of lists of one length as `[n, F]`, without a list for each row."""
    lengths = import_module("pyarrow.compute").list_value_length(column).unique().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        return None
    values = _to_float64(import_module("pyarrow.compute").list_flatten(column).to_numpy())
    return values.reshape(len(column), -1) if len(values) == len(column) * lengths[0] else None


def _pandas_column(column: Any) -> Column:
    # pandas' own types of missing numbers have the kind of numbers, too.
    if getattr(column.dtype, "kind", "O") in "uif":
        numbers: Column = column.to_numpy(dtype=np.float64, na_value=math.nan)
        return numbers
    if is_arrow(getattr(column.array, "_pa_array", None)):
        return _arrow_column(column.array._pa_array)
    return [None if is_blank(value) else value for value in column.tolist()]


def _from_records(
    path: Path,
    records: Sequence[Mapping[str, Any]],
    row_place: Callable[[int], str],
    problems: Sequence[ItemProblem] = (),
) -> RawTable:
    names = dict.fromkeys(name for record in records for name in record)
    if not names:
        raise DatasetError(f"{path} has no records; give an object of JSON for each item")
    columns: dict[str, Column] = {}
    for name in names:
        columns[name] = [record.get(name) for record in records]
    return _with_numbers(str(path), columns, row_place, problems)


def _parse_list(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path} is not JSON ({archives.one_line(error)}); write it again, or as .jsonl with an "
            "object in each line"
        ) from error
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise DatasetError(
            f"{path} is not a list of objects; write one object for each item, such as by pandas' "
            'to_json(orient="records")'
        )
    return content


def _parse_record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record else None


def _with_numbers(
    origin: str,
    columns: Mapping[str, Column],
    row_place: Callable[[int], str],
    problems: Sequence[ItemProblem] = (),
) -> RawTable:
    """A table whose columns of numbers are arrays."""
    converted: dict[str, Column] = {}
    invalid: dict[tuple[int, str], str] = {}
    booleans = set()
    for name, values in columns.items():
        if isinstance(values, np.ndarray) or column_type(values) != "number":
            converted[name] = values
            continue
        if all(isinstance(value, bool | np.bool_) or is_blank(value) for value in values):
            booleans.add(name)
        numbers = np.full(len(values), math.nan)
        for row, value in enumerate(values):
            if isinstance(value, int | float | np.number | np.bool_):
                numbers[row] = _to_float(value)
            else:
                invalid[row, name] = "" if is_blank(value) else str(value)
        converted[name] = numbers
    return RawTable(
        origin,
        converted,
        row_place,
        invalid,
        tuple(problems),
        booleans=frozenset(booleans),
    )


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        # An integer beyond the range of floating point.
        return math.inf


def _to_float64(column: Array) -> NDArray[np.float64]:
    """Convert a column to float64, with NaN for None."""
    # pyarrow returns booleans with nulls as objects.
    if column.dtype == object:
        column = np.array([math.nan if value is None else value for value in column])
    return column.astype(np.float64)


def _check_names(origin: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DatasetError(
                f"{origin} has two columns called {name!r}; every column needs its own name"
            )


def _check_stated_size(path: Path, metadata: Any) -> None:
    """Raise DatasetError if a Parquet file claims far more numbers than its size can hold."""
    stated_bytes = 8 * metadata.num_rows * metadata.num_columns
    file_bytes = path.stat().st_size
    if stated_bytes > max(archives.FREE_BYTES, archives.MAX_RATIO * file_bytes):
        raise DatasetError(
            f"{path} claims {metadata.num_rows} rows of {metadata.num_columns} columns in "
            f"{file_bytes} bytes; write it again, or as .npz if the size is correct"
        )


def _import_pyarrow(purpose: str) -> Any:
    try:
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'{purpose} needs pyarrow, which is not installed; pip install "graphfew[parquet]", or '
            "use .csv or .npz"
        ) from error
