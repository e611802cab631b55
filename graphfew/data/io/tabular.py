"""Tables of features with a column of labels: CSV, NPZ and Parquet. Nothing is unpickled."""

from __future__ import annotations

import csv
import math
import shlex
import zipfile
from array import array
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.data_warning import warn_data
from graphfew.data.io import archives, npz
from graphfew.data.label_marks import suggest_option
from graphfew.data.partially_labeled import PartiallyLabeledItems, parse_labels
from graphfew.data.table_columns import counts_rows, find_row_numbers
from graphfew.errors import DatasetError, InvalidInputError, MissingDependencyError

_MAX_NAMES_SHOWN = 8
_FIX_FEATURE = "correct it, remove the column, or name it with --id-column if it names the items"


def read_csv(
    path: Path,
    label_column: str = "label",
    id_column: str | None = None,
    unlabeled_marks: Sequence[str] | None = None,
) -> PartiallyLabeledItems:
    """Read a CSV file in UTF-8 with a header: one row per item, one column per feature.

    The index that pandas writes is ignored with a warning.

    Args:
        path: the file.
        label_column: column of the class names; empty, -1 or another mark if unknown.
        id_column: column of the items' names; None names them by their row, from 0.
        unlabeled_marks: the marks of unknown labels (see `graphfew.data.labels.resolve_labels`).

    Returns:
        The items, with `x` `[n, F]` float64.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file is not CSV, a feature is not a finite number (the message gives
            column and line), or fewer than two classes have a label.
        InvalidInputError: a column is missing.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "items.csv")
        >>> _ = path.write_text("width,height,label\\n1,2,cat\\n3,4,dog\\n5,6,\\n")
        >>> items = read_csv(path)
        >>> items.x.shape, items.labels
        ((3, 2), ('cat', 'dog', None))
    """
    # Compact buffers: a list of Python floats would take several times the memory of the features.
    values = array("d")
    line_numbers = array("q")
    label_texts: list[str] = []
    names: list[str] = []
    try:
        # csv needs newline="" for line breaks inside cells; utf-8-sig drops a byte-order mark.
        with path.open(newline="", encoding="utf-8-sig") as file:
            # strict: raise on malformed quotes instead of guessing.
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(path, columns, label_column, id_column)
            label_index = columns.index(label_column)
            id_index = None if id_column is None else columns.index(id_column)
            feature_indices = [i for i in range(len(columns)) if i not in (label_index, id_index)]
            for row in reader:
                # A blank line, such as the last one.
                if not row:
                    continue
                # Cells may contain line breaks, so this is not the number of the row.
                line = reader.line_num
                if len(row) != len(columns):
                    raise DatasetError(
                        f"{path}, line {line}: {len(row)} cells for {len(columns)} columns; every "
                        "row needs one cell per column"
                    )
                values.extend(_parse_features(path, row, feature_indices, columns, line))
                label_texts.append(row[label_index])
                names.append(str(len(names)) if id_index is None else row[id_index])
                line_numbers.append(line)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not text in UTF-8 ({error.reason}); save it as CSV in UTF-8"
        ) from error
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {reader.line_num}: not CSV ({error}); save it as CSV again"
        ) from error
    x = np.frombuffer(values, dtype=np.float64).reshape(len(names), len(feature_indices))
    feature_names = [columns[i] for i in feature_indices]
    _check_finite(x, feature_names, lambda row: f"{path}, line {line_numbers[row]}")
    x = _without_index(path, x, feature_names)
    return _build_items(path, x, label_texts, names, unlabeled_marks)


def read_npz(
    path: Path,
    features_key: str = "x",
    label_key: str = "y",
    unlabeled_marks: Sequence[str] | None = None,
) -> PartiallyLabeledItems:
    """Read two arrays of an NPZ file: features and labels.

    Args:
        path: the file.
        features_key: name of the features, `[n, F]`.
        label_key: name of the labels, `[n]` text or integers; -1, NaN or another mark if unknown.
        unlabeled_marks: the marks of unknown labels (see `graphfew.data.labels.resolve_labels`).

    Returns:
        The items, named by their row, with `x` `[n, F]` float64 if the file has float64, else
        float32.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file is not NPZ, an array holds Python objects or has another shape, a
            feature is not finite, or fewer than two classes have a label.
        InvalidInputError: an array is missing.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "items.npz")
        >>> np.savez(path, x=np.eye(3), y=np.array([0, 1, -1]))
        >>> read_npz(path).labels
        ('0', '1', None)
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DatasetError(
                f"{path} is not an NPZ archive; save features and labels with numpy.savez(..., "
                f"{features_key}=..., {label_key}=...)"
            )
    stored_names = npz.array_names(path)
    for key in (features_key, label_key):
        if key not in stored_names:
            raise InvalidInputError(
                f"{path} has no array {key!r}; its arrays are {_shorten(stored_names)}: set "
                "--features-key and --label-key"
            )
    x, y = npz.read_arrays(path, (features_key, label_key)).values()
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise DatasetError(
            f"{path}: {features_key} has shape {list(x.shape)} and {label_key} {list(y.shape)}; "
            "expected features [n, F] and one label for each, [n]"
        )
    if x.dtype.kind not in "buif":
        raise DatasetError(f"{path}: {features_key} has dtype {x.dtype}; expected numbers")
    is_double = x.dtype.kind == "f" and x.dtype.itemsize >= 8
    with np.errstate(over="ignore"):  # numbers too large become infinite and are reported below
        x = x.astype(np.float64 if is_double else np.float32)
    _check_finite(x, range(x.shape[1]), lambda row: f"{path}, row {row}")
    _report_row_numbers(path, features_key, x)
    names = [str(i) for i in range(len(x))]
    return _build_items(path, x, _label_texts(path, y.tolist()), names, unlabeled_marks)


def read_parquet(
    path: Path,
    label_column: str = "label",
    id_column: str | None = None,
    unlabeled_marks: Sequence[str] | None = None,
) -> PartiallyLabeledItems:
    """Read a Parquet file: one row per item, and a feature in every other column.

    The index that pandas writes is ignored with a warning.

    Args:
        path: the file.
        label_column: column of the class names; null, -1 or another mark if unknown.
        id_column: column of the items' names; None names them by their row, from 0.
        unlabeled_marks: the marks of unknown labels (see `graphfew.data.labels.resolve_labels`).

    Returns:
        The items, with `x` `[n, F]` float64.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        FileNotFoundError: no such file.
        DatasetError: the file is not Parquet, a feature is null or not a finite number, or fewer
            than two classes have a label.
        InvalidInputError: a column is missing.

    Example:
        >>> read_parquet(Path("items.parquet"), label_column="species")  # doctest: +SKIP
    """
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "reading Parquet needs pyarrow, which is not installed; pip install "
            '"graphfew[parquet]", or use .csv or .npz'
        ) from error
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
    columns = list(table.column_names)
    _check_columns(path, columns, label_column, id_column)
    feature_names = [name for name in columns if name not in (label_column, id_column)]
    for name in feature_names:
        column_type = table[name].type
        # Arrow counts dates and times as primitive, too.
        is_number = arrow.types.is_primitive(column_type) and not (
            arrow.types.is_temporal(column_type) or arrow.types.is_null(column_type)
        )
        if not is_number:
            raise DatasetError(
                f"{path}: column {name!r} holds {column_type}; features must be numbers: remove "
                "the column, or name it with --id-column if it names the items"
            )
    x = np.column_stack([_to_float64(table[name].to_numpy()) for name in feature_names])
    _check_finite(x, feature_names, lambda row: f"{path}, row {row}")
    x = _without_index(path, x, feature_names)
    item_names = range(len(x)) if id_column is None else table[id_column].to_pylist()
    label_texts = _label_texts(path, table[label_column].to_pylist())
    return _build_items(path, x, label_texts, [str(name) for name in item_names], unlabeled_marks)


def _without_index(
    path: Path, x: NDArray[np.float64], feature_names: Sequence[str]
) -> NDArray[np.float64]:
    """Remove the index that pandas writes, and report it and columns that look like ids."""
    found = find_row_numbers(
        feature_names,
        lambda position: x[:, position],
        keep_index="rename it; if it names the items, give it as --id-column",
        drop_id=lambda name: f"give --id-column={shlex.quote(name)}",
    )
    if found.index_columns and len(found.index_columns) == len(feature_names):
        raise DatasetError(
            f"{path} has no feature columns, only the index that pandas writes; add the numbers "
            "that describe an item"
        )
    warn_data(f"{path}: {note}" for note in found.notes)
    return np.delete(x, found.index_columns, axis=1) if found.index_columns else x


def _report_row_numbers(path: Path, features_key: str, x: NDArray[Any]) -> None:
    """Warn of columns without a name that count the rows."""
    for position in range(x.shape[1]):
        if counts_rows(x[:, position]):
            warn_data(
                [
                    f"{path}: column {position} of {features_key} numbers the rows and is used as a "
                    "feature; if it is an id, remove it"
                ]
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


def _to_float64(column: NDArray[Any]) -> NDArray[np.float64]:
    """Convert a column to float64, with NaN for None."""
    # pyarrow returns booleans with nulls as objects.
    if column.dtype == object:
        column = np.array([math.nan if value is None else value for value in column])
    return column.astype(np.float64)


def _build_items(
    path: Path,
    x: NDArray[Any],
    label_texts: Sequence[str],
    names: Sequence[str],
    unlabeled_marks: Sequence[str] | None,
) -> PartiallyLabeledItems:
    if not len(x):
        raise DatasetError(f"{path} has no items; it needs at least one labeled item of each class")
    labels = parse_labels(label_texts, unlabeled_marks, suggest_option)
    try:
        return PartiallyLabeledItems(x, labels, tuple(names))
    except InvalidInputError as error:
        raise DatasetError(f"{path}: {error}") from error


def _check_columns(
    path: Path, columns: Sequence[str], label_column: str, id_column: str | None
) -> None:
    if not columns:
        raise DatasetError(f"{path} is empty; it needs a header and a row for each item")
    for index, name in enumerate(columns):
        if name in columns[:index]:
            raise DatasetError(
                f"{path} has two columns called {name!r}; every column needs its own name"
            )
    options = {"--label-column": label_column, "--id-column": id_column}
    for option, column in options.items():
        if column is not None and column not in columns:
            hint = " (cells must be separated by commas)" if len(columns) == 1 else ""
            raise InvalidInputError(
                f"{path} has no column {column!r}; its columns are {_shorten(columns)}{hint}: name "
                f"one of them with {option}"
            )
    if not set(columns) - {label_column, id_column}:
        raise DatasetError(
            f"{path} has no feature columns, only {_shorten(columns)}; add the numbers that "
            "describe an item"
        )


def _shorten(names: Sequence[str]) -> str:
    """Join names, without the middle ones if there are many."""
    if len(names) <= _MAX_NAMES_SHOWN:
        return ", ".join(names)
    # The label is mostly in the last column.
    shown = [*names[: _MAX_NAMES_SHOWN - 1], "…", names[-1]]
    return f"{', '.join(shown)} and {len(names) - _MAX_NAMES_SHOWN} more"


def _parse_features(
    path: Path,
    row: Sequence[str],
    feature_indices: Sequence[int],
    columns: Sequence[str],
    line: int,
) -> list[float]:
    try:
        # The whole row at once; only a failure looks for the cell that caused it.
        return [float(row[i]) for i in feature_indices]
    except ValueError:
        invalid = next(i for i in feature_indices if not _is_number(row[i]))
        content = f"is text, {row[invalid]!r}" if row[invalid].strip() else "is empty"
        raise DatasetError(
            f"{path}, line {line}: column {columns[invalid]!r} {content}; features must be "
            f"numbers: {_FIX_FEATURE}"
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_finite(
    x: NDArray[Any], columns: Sequence[str] | range, describe_row: Callable[[int], str]
) -> None:
    is_finite = np.isfinite(x)
    if not is_finite.all():
        row, column = (int(i) for i in np.argwhere(~is_finite)[0])
        raise DatasetError(
            f"{describe_row(row)}: column {columns[column]!r} is {x[row, column]}; features must "
            "be finite: remove the item, or fill the value in"
        )


def _label_texts(path: Path, labels: Iterable[Any]) -> list[str]:
    """Convert labels to text: integers without a decimal point, NaN and None as an empty text.

    Raises:
        DatasetError: a label is a fraction, or neither text nor a number.
    """
    return [_label_text(path, label) for label in labels]


def _label_text(path: Path, label: Any) -> str:
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace")
    if label is None:
        return ""
    if isinstance(label, float):
        if math.isnan(label):
            return ""
        # A column of integers with gaps is read as floating point.
        if not label.is_integer():
            raise DatasetError(f"{path}: a label is {label}; labels must be text or integers")
        return str(int(label))
    if isinstance(label, str | int):
        return str(label)
    raise DatasetError(
        f"{path}: a label is a {type(label).__name__}; labels must be text or integers"
    )
