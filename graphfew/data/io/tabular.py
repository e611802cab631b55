"""Tables of features with a column of labels: CSV, NPZ and Parquet. Nothing is ever unpickled."""

from __future__ import annotations

import csv
import math
import zipfile
from array import array
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.data.io import npz
from graphfew.data.io.archives import FREE_BYTES, RATIO
from graphfew.data.partially_labeled import Labels, PartiallyLabeledItems, labels_of

SHOWN = 8


def read_csv(
    path: Path, label_column: str = "label", id_column: str | None = None
) -> PartiallyLabeledItems:
    """A pile from a CSV in UTF-8 with a header: one row per item, every column but two a feature, float64.

    Args:
        path: the file.
        label_column: class names; empty, or -1, where unknown.
        id_column: names of the items; without one they are called by their row, from 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a CSV, a column that is missing or there twice, a feature that is no finite number (it says in
            which column and line), or labels that a `Pile` refuses.
    """
    values, lines = array("d"), array("q")
    texts: list[str] = []
    names: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(path, columns, label_column, id_column)
            features = [
                i for i, name in enumerate(columns) if name not in (label_column, id_column)
            ]
            label_at, id_at = (
                columns.index(label_column),
                None if id_column is None else columns.index(id_column),
            )
            for row in filter(None, reader):
                if len(row) != len(columns):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {len(row)} cells under {len(columns)} columns; "
                        "give every row a cell for each column"
                    )
                values.extend(_numbers(path, row, features, columns, reader.line_num))
                texts.append(row[label_at])
                names.append(str(len(names)) if id_at is None else row[id_at])
                lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error.reason}); save it as CSV in UTF-8"
        ) from error
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: not CSV ({error}); save it as CSV anew"
        ) from error
    x = np.frombuffer(values, dtype=np.float64).reshape(len(names), len(features))
    _check_finite(x, [columns[i] for i in features], lambda row: f"{path}, line {lines[row]}")
    return _pile(path, x, labels_of(texts), names)


def read_npz(path: Path, features_key: str = "x", label_key: str = "y") -> PartiallyLabeledItems:
    """A pile from two arrays of an NPZ: features `[n, F]` and labels `[n]`, text or whole numbers.

    Labels are unknown where they are empty, -1 or NaN. Features become float32, but float64 stays what it is. Items are
    called by their row, from 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an NPZ, an array that is missing, holds Python objects or is of another shape, or as `read_csv`.
    """
    with path.open("rb") as raw:
        if not zipfile.is_zipfile(raw):
            raise ValueError(
                f"{path} is no NPZ archive; save features and labels with numpy.savez(..., "
                f"{features_key}=..., {label_key}=...)"
            )
    held = npz.names(path)
    for key in (features_key, label_key):
        if key not in held:
            raise ValueError(
                f"{path} has no array {key!r}; its arrays are {_some(held)}: name them with "
                "--features-key and --label-key"
            )
    x, y = npz.read_arrays(path, (features_key, label_key)).values()
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(
            f"{path}: {features_key} has shape {list(x.shape)} and {label_key} {list(y.shape)}; give "
            "features [n, F] and one label for each, [n]"
        )
    if x.dtype.kind not in "buif":
        raise ValueError(f"{path}: {features_key} has dtype {x.dtype}; give numbers")
    with np.errstate(over="ignore"):
        x = x.astype(np.float64 if x.dtype.kind == "f" and x.dtype.itemsize >= 8 else np.float32)
    _check_finite(x, range(x.shape[1]), lambda row: f"{path}, row {row}")
    return _pile(path, x, labels_of(_texts(path, y.tolist())), [str(i) for i in range(len(x))])


def read_parquet(
    path: Path, label_column: str = "label", id_column: str | None = None
) -> PartiallyLabeledItems:
    """A pile from a Parquet file, as `read_csv` reads one from a CSV; nulls are unknown labels, and no features.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
        FileNotFoundError: no such file.
        ValueError: as `read_csv`.
    """
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet is read through pyarrow, which is not installed; pip install "
            '"graphfew[parquet]", or write a .csv or .npz instead'
        ) from error
    with path.open("rb") as file:
        try:
            _check_claim(path, parquet.read_metadata(file))
            file.seek(0)
            table = parquet.read_table(file)
        except (arrow.ArrowException, OSError, MemoryError, OverflowError) as error:
            reason = " ".join(str(error).split())[:500]
            raise ValueError(
                f"{path} cannot be read as Parquet ({reason}); write it anew"
            ) from error
    columns = list(table.column_names)
    _check_columns(path, columns, label_column, id_column)
    features = [name for name in columns if name not in (label_column, id_column)]
    for name in features:
        kind = table[name].type
        if (
            not arrow.types.is_primitive(kind)
            or arrow.types.is_temporal(kind)
            or arrow.types.is_null(kind)
        ):
            raise ValueError(
                f"{path}: column {name!r} holds {table[name].type}; features must be numbers: leave the "
                "column out, or name it with --id-column if it names the items"
            )
    x = np.column_stack([_floats(table[name].to_numpy()) for name in features])
    _check_finite(x, features, lambda row: f"{path}, row {row}")
    names = map(str, range(len(x)) if id_column is None else table[id_column].to_pylist())
    return _pile(path, x, labels_of(_texts(path, table[label_column].to_pylist())), list(names))


def _check_claim(path: Path, told: Any) -> None:
    """Raises ValueError where the numbers that a Parquet file claims to hold would take more than it can mean."""
    cells = told.num_rows * told.num_columns
    if 8 * cells > max(FREE_BYTES, RATIO * path.stat().st_size):
        raise ValueError(
            f"{path} claims {told.num_rows} rows of {told.num_columns} columns in {path.stat().st_size} "
            "bytes; write it anew, or as .npz if that is meant"
        )


def _floats(column: NDArray[Any]) -> NDArray[np.float64]:
    """A column as floating numbers; what is missing among truth values comes as None, and is NaN."""
    if column.dtype == object:
        column = np.array([math.nan if value is None else value for value in column])
    return column.astype(np.float64)


def _pile(
    path: Path, x: NDArray[Any], labels: Labels, names: Sequence[str]
) -> PartiallyLabeledItems:
    if not len(x):
        raise ValueError(f"{path} has no items; give at least one labeled item of each class")
    try:
        return PartiallyLabeledItems(x, labels, tuple(names))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_columns(
    path: Path, columns: Sequence[str], label_column: str, id_column: str | None
) -> None:
    if not columns:
        raise ValueError(f"{path} is empty; give a header and a row for each item")
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise ValueError(
            f"{path} has two columns called {twice!r}; give every column a name of its own"
        )
    for option, name in (("--label-column", label_column), ("--id-column", id_column)):
        if name is not None and name not in columns:
            commas = " (cells must be separated by commas)" if len(columns) == 1 else ""
            raise ValueError(
                f"{path} has no column {name!r}; its columns are {_some(columns)}{commas}: name one of "
                f"them with {option}"
            )
    if not set(columns) - {label_column, id_column}:
        raise ValueError(
            f"{path} has no column of features beside {_some(columns)}; add the numbers that describe an "
            "item"
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    # The last one too: that is where labels mostly are.
    shown = list(names) if not more else [*names[: SHOWN - 1], "…", names[-1]]
    return ", ".join(shown) + more


def _numbers(
    path: Path, row: Sequence[str], features: Sequence[int], columns: Sequence[str], line: int
) -> list[float]:
    try:
        return [float(row[i]) for i in features]
    except ValueError:
        bad = next(i for i in features if not _is_number(row[i]))
        what = f"is text, {row[bad]!r}" if row[bad].strip() else "is empty"
        raise ValueError(
            f"{path}, line {line}: column {columns[bad]!r} {what}; features must be numbers: correct it, "
            "leave the column out, or name it with --id-column if it names the items"
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_finite(x: NDArray[Any], columns: Sequence[str] | range, where: Any) -> None:
    good = np.isfinite(x)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise ValueError(
            f"{where(row)}: column {columns[column]!r} is {x[row, column]}; features must be finite: "
            "remove the item, or fill the value in"
        )


def _texts(path: Path, labels: Iterable[Any]) -> list[str]:
    """Labels as text: whole numbers without a point, NaN and None empty.

    Raises:
        ValueError: a label that is no name: a fraction, or anything but text and numbers.
    """
    out = []
    for label in labels:
        value = label.decode("utf-8", "replace") if isinstance(label, bytes) else label
        if value is None or (isinstance(value, float) and math.isnan(value)):
            out.append("")
        elif isinstance(value, float):
            if not value.is_integer():
                raise ValueError(
                    f"{path}: a label is {value}; labels must be text or whole numbers"
                )
            out.append(str(int(value)))
        elif isinstance(value, str | int):
            out.append(str(value))
        else:
            raise ValueError(
                f"{path}: a label is a {type(value).__name__}; labels must be text or whole numbers"
            )
    return out
