"""Tables as they are in files and frames, before columns are chosen."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphfew.data.io.image_pixels import SUFFIXES
from graphfew.data.problems import ItemProblem

Column = NDArray[Any] | list[Any]
ColumnType = Literal["number", "text", "vector", "image", "blank", "other"]
# Values of a column that decide what it holds.
N_SAMPLED = 1000
_VECTOR = re.compile(r"\[[-+0-9.eE,\s]*\]", re.DOTALL)


@dataclasses.dataclass(frozen=True, eq=False)
class RawTable:
    """Columns of a table, with what could not be read.

    Attributes:
        origin: the file, or `the table`, for messages.
        columns: numbers as an array `[n]`, NaN if not a number; lists of equal length as an array
            `[n, F]`; anything else as a list `[n]`.
        row_place: describes a row, such as `line 3`.
        invalid_cells: text of cells that are not numeric, by row and column.
        problems: rows that could not be read; their cells are empty.
        assumptions: what was assumed about the format, with the option that changes it.
        booleans: columns of numbers that are booleans in the file.

    Example:
        >>> table = RawTable("items.csv", {"a": np.ones(2)}, lambda row: f"line {row + 2}")
        >>> len(table), table.row_place(0)
        (2, 'line 2')
    """

    origin: str
    columns: Mapping[str, Column]
    row_place: Callable[[int], str]
    invalid_cells: Mapping[tuple[int, str], str] = dataclasses.field(default_factory=dict)
    problems: tuple[ItemProblem, ...] = ()
    assumptions: tuple[str, ...] = ()
    booleans: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def cell(self, row: int, column: str) -> str:
        """Describe the place of a cell."""
        return f"{self.row_place(row)}, column {column!r}"

    def label_cells(self, column: str) -> list[Any]:
        """Return the cells of a column of labels, with booleans as the text `true` or `false`."""
        cells = list(self.columns[column])
        if column not in self.booleans:
            return cells
        words = {0.0: "false", 1.0: "true"}
        return [words.get(cell) for cell in cells]


def column_type(values: Column) -> ColumnType:
    """Return what a column holds, judged by its first values.

    Example:
        >>> column_type(["a.png", "b.png"]), column_type(["hello", ""]), column_type([[1.0, 2.0]])
        ('image', 'text', 'vector')
    """
    if isinstance(values, np.ndarray):
        if values.ndim == 2:
            return "vector"
        return "number" if values.dtype.kind in "buif" else "other"
    present = _sample(values)
    if not present:
        return "blank"
    # The larger half decides; the others are reported as problems of single cells.
    types = [_value_type(value) for value in present]
    return max(dict.fromkeys(types), key=types.count)


def is_blank(value: Any) -> bool:
    """Return whether a cell has no value: None, NaN or blank text."""
    if isinstance(value, str):
        return not value.strip()
    # NaN and pandas' NaT differ from themselves; NA has a type of its own.
    return value is None or type(value).__name__ == "NAType" or _differs_from_itself(value)


def parse_vector(value: Any) -> NDArray[np.float64] | None:
    """Return a list of numbers as an array `[F]`; None for another object.

    Example:
        >>> parse_vector("[1, 2.5]"), parse_vector("[1. 2.]"), parse_vector("no")
        (array([1. , 2.5]), array([1., 2.]), None)
    """
    try:
        if isinstance(value, str):
            value = _split_vector(value)
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, RecursionError):
        return None
    return vector if vector.ndim == 1 and len(vector) else None


def _split_vector(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        # NumPy writes its arrays with blanks instead of commas.
        return text.strip().strip("[]").replace(",", " ").split()


def _sample(values: Sequence[Any]) -> list[Any]:
    present = [value for value in values[:N_SAMPLED] if not is_blank(value)]
    if not present:
        # A column may start with many missing values.
        present = [value for value in values if not is_blank(value)][:N_SAMPLED]
    return present


def _value_type(value: Any) -> ColumnType:
    if isinstance(value, str):
        if PurePath(value.strip()).suffix.lower() in SUFFIXES:
            return "image"
        return "vector" if _VECTOR.fullmatch(value.strip()) else "text"
    if isinstance(value, int | float | np.number | np.bool_):
        return "number"
    if isinstance(value, list | tuple | np.ndarray):
        return "vector"
    # Hugging Face stores an image as its bytes and path.
    if isinstance(value, Mapping) and {"bytes", "path"} <= set(value):
        return "image"
    return "other"


def _differs_from_itself(value: Any) -> bool:
    is_scalar = isinstance(value, float | np.floating | np.datetime64 | np.timedelta64)
    return (is_scalar or type(value).__name__ == "NaTType") and bool(value != value)
