"""Columns of a table that number its rows: the index that pandas writes, and ids."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.data.class_names import quoted
from graphfew.data.label_values import is_arrow, is_arrow_column

Array = NDArray[Any]

# `to_csv` writes the index under an empty name, which `read_csv` turns into "Unnamed: 0";
# `to_parquet` uses the last one.
_INDEX_NAME = re.compile(r"|Unnamed: \d+(\.\d+|_level_\d+)*|__index_level_\d+__")
_ID_NAME = re.compile(r"id|idx|index|uid|.*[ _.-]id|.*[a-z]I[dD]")
# In fewer rows, a feature may increase by one by chance.
_MIN_ROWS = 5


@dataclasses.dataclass(frozen=True)
class RowNumberColumns:
    """Columns that number the rows.

    Attributes:
        index_columns: positions of the columns that pandas wrote as its index.
        notes: one line for these, and one for columns that look like ids.
    """

    index_columns: tuple[int, ...]
    notes: tuple[str, ...]


def find_row_numbers(
    names: Sequence[Any],
    column: Callable[[int], Array],
    *,
    keep_index: str,
    drop_id: Callable[[str], str],
) -> RowNumberColumns:
    """Find the columns that number the rows.

    The index of pandas has one of its names ("", "Unnamed: 0", "__index_level_0__") and distinct
    integers, or several counts from 0. An id is a column with another name whose integers increase
    by one, or are distinct under a name such as "id".

    Args:
        names: `[F]` names of the columns.
        column: returns the values `[n]` of a column, given its position.
        keep_index: what to do to use the index as a feature.
        drop_id: returns what to do if the column of a name is an id.

    Returns:
        The columns.

    Example:
        >>> columns = [np.arange(3), np.array([4, 8, 6])]
        >>> found = find_row_numbers(
        ...     ["Unnamed: 0", "a"], columns.__getitem__, keep_index="rename it", drop_id=str
        ... )
        >>> found.notes
        ('the column "Unnamed: 0" is the index that pandas writes and is ignored; if it is a feature, rename it',)
    """
    index_columns, notes = [], []
    for position, name in enumerate(names):
        if not isinstance(name, str):
            continue
        if is_index_name(name):
            if _is_index(column(position)):
                index_columns.append(position)
        elif _is_id(name, column(position)):
            notes.append(
                f"the column {quoted([name])} numbers the rows and is used as a feature; if it is "
                f"an id, {drop_id(name)}"
            )
    if index_columns:
        shown = quoted([names[position] for position in index_columns])
        notes.insert(
            0,
            f"the column {shown} is the index that pandas writes and is ignored; if it is a "
            f"feature, {keep_index}",
        )
    return RowNumberColumns(tuple(index_columns), tuple(notes))


def drop_index(
    table: Any, feature_names: Collection[str] | None = None
) -> tuple[Any, tuple[str, ...]]:
    """Remove the index that pandas writes from a table of pandas or Arrow.

    Args:
        table: the items; anything but a table is returned unchanged.
        feature_names: the features of earlier items: a column with a name of the index that is not one
            of them is removed, whatever its values. None decides by the values.

    Returns:
        The table, and one line for each assumption.

    Example:
        >>> import pandas
        >>> table = pandas.DataFrame({"Unnamed: 0": [0, 1], "a": [0.5, 0.1]})
        >>> drop_index(table)[0].columns.tolist()
        ['a']
    """
    is_pandas = hasattr(table, "iloc") and hasattr(table, "columns")
    if not is_pandas and not (is_arrow(table) and not is_arrow_column(table)):
        return table, ()
    names = list(table.columns) if is_pandas else list(table.column_names)

    def column(position: int) -> Array:
        values = table.iloc[:, position] if is_pandas else table.column(position)
        return np.asarray(values)

    notes: tuple[str, ...] = ()
    if feature_names is None:
        found = find_row_numbers(
            names, column, keep_index="rename it", drop_id=lambda name: "remove it from the items"
        )
        ignored, notes = found.index_columns, found.notes
    else:
        ignored = tuple(
            position
            for position, name in enumerate(names)
            if isinstance(name, str) and is_index_name(name) and name not in feature_names
        )
    if not ignored:
        return table, notes
    remaining = [position for position in range(len(names)) if position not in ignored]
    return (table.iloc[:, remaining] if is_pandas else table.select(remaining)), notes


def counts_rows(values: Array) -> bool:
    """Return whether integers increase by one from each row to the next, in at least five rows.

    Example:
        >>> counts_rows(np.arange(3, 9)), counts_rows(np.array([1, 2, 3, 5, 4, 6]))
        (True, False)
    """
    if len(values) < _MIN_ROWS:
        return False
    # The first rows first: this decides for nearly every column. As floats, because differences of
    # unsigned integers wrap around.
    for part in (values[:_MIN_ROWS], values):
        if not _are_integers(part) or not (np.diff(part.astype(np.float64)) == 1).all():
            return False
    return True


def is_index_name(name: str) -> bool:
    """Return whether pandas writes its index under this name.

    Example:
        >>> is_index_name("Unnamed: 0"), is_index_name("index")
        (True, False)
    """
    return _INDEX_NAME.fullmatch(name.strip()) is not None


def has_id_name(name: str) -> bool:
    """Return whether a column has a name of ids.

    Example:
        >>> has_id_name("customer_id"), has_id_name("width")
        (True, False)
    """
    return bool(_ID_NAME.fullmatch(name) or _ID_NAME.fullmatch(name.lower()))


def _is_index(values: Array) -> bool:
    if not len(values) or not _are_integers(values):
        return False
    if len(np.unique(values)) == len(values):
        return True
    # Concatenated tables, each with its own count.
    starts = values == 0
    continues = np.diff(values.astype(np.float64), prepend=-1) == 1
    return bool((starts | continues).all())


def _is_id(name: str, values: Array) -> bool:
    if counts_rows(values):
        return True
    if not has_id_name(name) or len(values) < _MIN_ROWS or not _are_integers(values):
        return False
    return len(np.unique(values)) == len(values)


def _are_integers(values: Array) -> bool:
    if values.dtype.kind in "iu":
        return True
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        return False
    return bool((values == np.floor(values)).all())
