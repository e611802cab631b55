"""Items, labels and names from the columns of a table."""

from __future__ import annotations

import dataclasses
import io
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graphfew._utils.data_warning import warn_data
from graphfew.data.column_roles import ColumnRoles, ItemKind
from graphfew.data.io.image_pixels import ImageFile, inspect_images
from graphfew.data.io.raw_table import RawTable, is_blank, parse_vector
from graphfew.data.problems import ItemProblem
from graphfew.data.table_columns import find_row_numbers
from graphfew.errors import DatasetError

Array = NDArray[Any]
# Texts, image paths or images of Pillow, or features or images as an array `[n, …]`.
Items = tuple[str, ...] | tuple[Path | Image.Image, ...] | Array
_NOT_FINITE = "has numbers that are not finite"


@dataclasses.dataclass(frozen=True, eq=False)
class TableItems:
    """The items of a table, unusable ones included.

    Attributes:
        kind: what the items are.
        items: the items; any value if unusable.
        label_texts: `[n]` labels as text; None if the table has no column of labels.
        names: `[n]` names.
        problems: why items are unusable.
        is_numbered: the names are row numbers.
    """

    kind: ItemKind
    items: Items
    label_texts: tuple[str, ...] | None
    names: tuple[str, ...]
    problems: tuple[ItemProblem, ...]
    is_numbered: bool = False


def extract_items(table: RawTable, roles: ColumnRoles, folder: Path) -> TableItems:
    """Take the items, their labels and names from the columns of a table.

    Args:
        table: the table.
        roles: the use of its columns.
        folder: of relative paths of images.

    Returns:
        The items, and why some cannot be used.

    Raises:
        DatasetError: the table has no rows, or a label is neither text nor an integer.
    """
    if not len(table):
        raise DatasetError(f"{table.origin} has no items; it needs a row for each item")
    # The cells of a row that could not be read are empty, which is no further problem.
    unread = {problem.row for problem in table.problems}
    problems: list[ItemProblem] = []
    if roles.kind == "text":
        items: Items = _texts(table, roles.items, problems)
    elif roles.kind == "image":
        items = _images(table, roles.items[0], folder, problems)
    elif roles.are_vectors:
        items = _vectors(table, roles.items[0], problems)
    else:
        items = _features(table, roles.items, problems)
    problems = [problem for problem in problems if problem.row not in unread]
    problems = sorted((*table.problems, *problems), key=lambda problem: problem.row)
    labels = None
    if roles.label is not None:
        labels = label_texts(table.origin, table.label_cells(roles.label))
    names = _names(table, roles)
    is_numbered = names is None
    if names is None:
        names = tuple(map(str, range(len(table))))
    return TableItems(roles.kind, items, labels, names, tuple(problems), is_numbered)


def label_texts(origin: str, labels: Iterable[Any]) -> tuple[str, ...]:
    """Convert labels to text: integers without a decimal point, NaN and None as an empty text.

    Raises:
        DatasetError: a label is a fraction, or neither text nor a number.

    Example:
        >>> label_texts("items.csv", ["cat", 1.0, None])
        ('cat', '1', '')
    """
    return tuple(_label_text(origin, label) for label in labels)


def without_index(
    origin: str, x: NDArray[np.float64], feature_names: Sequence[str]
) -> NDArray[np.float64]:
    """Remove the index that pandas writes, and report it and columns that look like ids.

    Args:
        origin: the file, for messages.
        x: `[n, F]` features.
        feature_names: `[F]` names of the columns.
    """
    found = find_row_numbers(
        feature_names,
        lambda position: x[:, position],
        keep_index="rename it; if it names the items, give it as --id-column",
        drop_id=lambda name: f"give --id-column={shlex.quote(name)}",
    )
    if found.index_columns and len(found.index_columns) == len(feature_names):
        raise DatasetError(
            f"{origin} has no feature columns, only the index that pandas writes; add the numbers "
            "that describe an item"
        )
    warn_data(f"{origin}: {note}" for note in found.notes)
    return np.delete(x, found.index_columns, axis=1) if found.index_columns else x


def nonfinite_problems(
    x: Array,
    feature_names: Sequence[str] | range,
    table: RawTable,
) -> list[ItemProblem]:
    """Return a problem for each feature that is not a finite number.

    Args:
        x: `[n, F]` features.
        feature_names: `[F]` names of the columns.
        table: describes the places of cells, and has the text of those that are not numeric.
    """
    problems = []
    for row, column in np.argwhere(~np.isfinite(x)).tolist():
        name = str(feature_names[column])
        text = table.invalid_cells.get((row, name))
        reason = f"is {x[row, column]}"
        if text is not None:
            reason = f"is text, {text!r}" if text.strip() else "is empty"
        problems.append(ItemProblem(row, table.cell(row, name), reason))
    return problems


def _texts(table: RawTable, columns: Sequence[str], problems: list[ItemProblem]) -> tuple[str, ...]:
    texts = []
    for row in range(len(table)):
        cells = [table.columns[name][row] for name in columns]
        parts = ["" if is_blank(cell) else str(cell).strip() for cell in cells]
        text = "\n".join(part for part in parts if part)
        if not text:
            problems.append(ItemProblem(row, table.cell(row, columns[0]), "is empty"))
        texts.append(text)
    return tuple(texts)


def _images(
    table: RawTable, column: str, folder: Path, problems: list[ItemProblem]
) -> tuple[Path | Image.Image, ...]:
    files: list[ImageFile] = []
    for cell in table.columns[column]:
        if isinstance(cell, Mapping) and cell.get("bytes") is not None:
            files.append(cell["bytes"])
            continue
        path = cell.get("path") if isinstance(cell, Mapping) else cell
        files.append(folder / ("" if is_blank(path) else str(path).strip()))
    for row, header in enumerate(inspect_images(files)):
        if header.problem is None:
            continue
        place, reason, file = table.cell(row, column), header.problem, files[row]
        if is_blank(table.columns[column][row]):
            reason = "is empty"
        elif isinstance(file, Path):
            place = f"{place}: {file}"
        problems.append(ItemProblem(row, place, reason))
    bad = {problem.row for problem in problems}
    blank = Image.new("RGB", (1, 1))
    return tuple(blank if row in bad else _image_item(file) for row, file in enumerate(files))


def _image_item(file: ImageFile) -> Path | Image.Image:
    return file if isinstance(file, Path) else Image.open(io.BytesIO(file))


def _vectors(table: RawTable, column: str, problems: list[ItemProblem]) -> Array:
    values = table.columns[column]
    if isinstance(values, np.ndarray):
        rows = np.flatnonzero(~np.isfinite(values).all(1)).tolist()
        problems += [ItemProblem(row, table.cell(row, column), _NOT_FINITE) for row in rows]
        return values
    vectors = [None if is_empty_vector(value) else parse_vector(value) for value in values]
    lengths = Counter(len(vector) for vector in vectors if vector is not None)
    length = lengths.most_common(1)[0][0] if lengths else 1
    x = np.zeros((len(vectors), length))
    for row, vector in enumerate(vectors):
        reason = None
        if vector is None:
            reason = "is empty" if is_empty_vector(values[row]) else "is not a list of numbers"
        elif len(vector) != length:
            reason = f"has {len(vector)} numbers, and most others have {length}"
        elif not np.isfinite(vector).all():
            reason = _NOT_FINITE
        else:
            x[row] = vector
        if reason is not None:
            problems.append(ItemProblem(row, table.cell(row, column), reason))
    return x


def is_empty_vector(value: Any) -> bool:
    """Return whether a cell has no list, or an empty one."""
    if isinstance(value, list | tuple | np.ndarray):
        return not len(value)
    return is_blank(value)


def _features(
    table: RawTable, columns: Sequence[str], problems: list[ItemProblem]
) -> NDArray[np.float64]:
    x = np.column_stack([_numbers(table, name, problems) for name in columns])
    problems += nonfinite_problems(x, columns, table)
    return without_index(table.origin, x, columns)


def _numbers(table: RawTable, column: str, problems: list[ItemProblem]) -> NDArray[np.float64]:
    values = table.columns[column]
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    # A column that the user named: its first cells are no numbers.
    numbers = np.zeros(len(values))
    for row, value in enumerate(values):
        text = "" if is_blank(value) else str(value)
        try:
            numbers[row] = float(text)
        except ValueError:
            reason = f"is text, {text!r}" if text else "is empty"
            problems.append(ItemProblem(row, table.cell(row, column), reason))
    return numbers


def _names(table: RawTable, roles: ColumnRoles) -> tuple[str, ...] | None:
    """The ids, or the paths of images; None if there are neither."""
    if roles.id is not None:
        values = table.columns[roles.id]
        return tuple("" if is_blank(value) else _name(value) for value in values)
    if roles.kind == "image":
        cells = table.columns[roles.items[0]]
        paths = [cell.get("path") if isinstance(cell, Mapping) else cell for cell in cells]
        if not any(is_blank(path) for path in paths):
            return tuple(str(path) for path in paths)
    return None


def _name(value: Any) -> str:
    # Ids are read as numbers, too.
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _label_text(origin: str, label: Any) -> str:
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace")
    if is_blank(label):
        return ""
    if isinstance(label, float | np.floating):
        # A column of integers with gaps is read as floating point.
        if not math.isfinite(label) or not float(label).is_integer():
            raise DatasetError(f"{origin}: a label is {label}; labels must be text or integers")
        return str(int(label))
    if isinstance(label, str | int | np.integer | np.bool_):
        return str(label)
    raise DatasetError(
        f"{origin}: a label is a {type(label).__name__}; labels must be text or integers"
    )
