"""Corrections: a table of labels that replace those of items."""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphfew._utils.data_warning import warn_data
from graphfew.data.io.delimited import TextFormat
from graphfew.data.io.raw_table import is_blank
from graphfew.data.io.table_files import check_suffix, read_table_file
from graphfew.data.label_marks import suggest_argument
from graphfew.data.label_values import label_values
from graphfew.data.labels import resolve_labels
from graphfew.data.problems import raise_problems
from graphfew.data.table_items import label_texts
from graphfew.errors import DatasetError, InvalidInputError, MissingFileError
from graphfew.labeling.label_sources import LabelSource
from graphfew.labeling.label_table import TEXT_COLUMN

ITEM_COLUMN, LABEL_COLUMN, GIVEN_COLUMN = "item", "label", "given"
# Spreadsheets translate what they read as true.
_TRUE_WORDS = ("true", "1", "wahr", "vrai", "verdadero", "verdadeiro", "vero", "waar", "prawda")


@dataclasses.dataclass(frozen=True)
class CorrectionTable:
    """Labels that replace those of items.

    Attributes:
        labels: the label of each item name.
        texts: the text of item names, if the table has them.

    Example:
        >>> CorrectionTable({"7": "cat"}).texts
        {}
    """

    labels: Mapping[str, str]
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read_corrections(path: Path) -> CorrectionTable:
    """Read a table with the columns `item` and `label`, and `text` if items are texts.

    In a table that `graphfew label` wrote, only the rows with `given` = true are corrections: the
    others are its own predictions.

    Args:
        path: a .csv, .tsv, .jsonl or .parquet, as `graphfew label` and spreadsheets write them.

    Returns:
        The labels, with the texts of their items.

    Raises:
        MissingFileError: no such file.
        ConfigurationError: the file is of another type.
        DatasetError: the file is not a table, a column is missing, or an item has two labels.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "corrections.csv")
        >>> _ = path.write_text("item,label\\n7,cat\\n")
        >>> read_corrections(path).labels
        {'7': 'cat'}
    """
    if not path.is_file():
        raise MissingFileError(f"there is no {path}; give a table with the columns item and label")
    check_suffix(path)
    table = read_table_file(path, TextFormat(), lambda header: header)
    if table.assumptions:
        warn_data([f"{path}: assumed that {'; '.join(table.assumptions)}"])
    for column in (ITEM_COLUMN, LABEL_COLUMN):
        if column not in table.columns:
            raise DatasetError(
                f"{path} has no column {column!r}; corrections need the columns {ITEM_COLUMN} and "
                f"{LABEL_COLUMN}"
            )
    raise_problems(str(path), table.problems, "correct {it}")
    names = label_texts(str(path), table.columns[ITEM_COLUMN])
    texts = label_texts(str(path), table.label_cells(LABEL_COLUMN))
    # A table without the column holds corrections only.
    given = table.columns.get(GIVEN_COLUMN, [True] * len(table))
    contents = table.columns.get(TEXT_COLUMN, [None] * len(table))
    labels: dict[str, str] = {}
    texts_of_name: dict[str, str] = {}
    n_skipped = 0
    for row, (name, label) in enumerate(zip(names, texts, strict=True)):
        if not _is_true(given[row]):
            n_skipped += 1
            continue
        if labels.setdefault(name, label) != label:
            raise DatasetError(
                f"{path}, {table.row_place(row)}: item {name!r} has the labels {labels[name]!r} and "
                f"{label!r}; give it one"
            )
        if not is_blank(contents[row]):
            texts_of_name[name] = str(contents[row])
    if n_skipped:
        warn_data(
            [
                f"{path}: {n_skipped} rows are no corrections, as {GIVEN_COLUMN} is not true; set it "
                "to true where you corrected a label"
            ]
        )
    return CorrectionTable(labels, texts_of_name)


def _is_true(value: Any) -> bool:
    """Whether a cell is true: as text, or as booleans and numbers of other formats."""
    if isinstance(value, str):
        return value.strip().lower() in _TRUE_WORDS
    return value is not None and bool(value == 1)


def correct_labels(
    items: LabelSource,
    corrections: CorrectionTable,
    unlabeled_marks: Sequence[str] | None = None,
    suggest: Callable[[Sequence[str]], str] = suggest_argument,
) -> LabelSource:
    """Replace labels of items, whether they were unknown or given.

    Corrections without a label change nothing, which a warning reports. If the names of texts are
    row numbers, corrections follow their text to another row.

    Args:
        items: the items with their given labels.
        corrections: the labels by item name.
        unlabeled_marks: the marks of unknown labels; None takes the default ones.
        suggest: describes how the caller sets the marks.

    Returns:
        The items with the labels replaced.

    Raises:
        InvalidInputError: no item, or several, have the name of a correction, or no item has its
            text anymore.

    Example:
        >>> import numpy as np
        >>> items = LabelSource(("0", "1", "2"), np.eye(3), "features", ("cat", "dog", None))
        >>> correct_labels(items, CorrectionTable({"1": "cow", "2": "cat"})).labels
        ('cat', 'cow', 'cat')
    """
    rows = _correction_rows(items, corrections)
    resolved = resolve_labels(
        label_values(list(corrections.labels.values())),
        unlabeled_marks,
        previous_classes=items.classes,
        suggest=suggest,
    )
    warn_data(resolved.notes)
    labels = list(items.labels)
    n_empty = int(resolved.is_unknown.sum())
    values = zip(rows, resolved.values.tolist(), resolved.is_unknown.tolist(), strict=True)
    for row, label, is_unknown in values:
        if not is_unknown:
            labels[row] = label.strip()
    if n_empty:
        warn_data([f"{n_empty} of {len(rows)} corrections have no label and change nothing"])
    return dataclasses.replace(items, labels=tuple(labels))


def _correction_rows(items: LabelSource, corrections: CorrectionTable) -> list[int]:
    """The row of each correction."""
    rows_of_name: dict[str, list[int]] = {}
    for row, name in enumerate(items.names):
        rows_of_name.setdefault(name, []).append(row)
    moved: dict[str, int] = {}
    if items.is_numbered and items.kind == "text":
        moved = _rows_of_texts(items, corrections)
    for name in corrections.labels:
        n_rows = len(rows_of_name.get(name, ()))
        if name not in moved and n_rows != 1:
            raise InvalidInputError(
                f"the correction of item {name!r} fits {n_rows} items; the names of corrections "
                "must be those of the table that graphfew label writes, each of one item"
            )
    return [moved[name] if name in moved else rows_of_name[name][0] for name in corrections.labels]


def _rows_of_texts(items: LabelSource, corrections: CorrectionTable) -> dict[str, int]:
    """The row of each correction that has a text.

    Row numbers change if rows are sorted, added or removed.
    """
    texts = [_without_spacing(str(item)) for item in items.items]
    rows = {
        name: row
        for row, name in enumerate(items.names)
        if name in corrections.texts and _without_spacing(corrections.texts[name]) == texts[row]
    }
    # Equal texts are interchangeable: each correction takes one that no other has.
    free: defaultdict[str, deque[int]] = defaultdict(deque)
    taken = set(rows.values())
    for row, text in enumerate(texts):
        if row not in taken:
            free[text].append(row)
    n_moved = 0
    for name, text in corrections.texts.items():
        if name in rows:
            continue
        candidates = free[_without_spacing(text)]
        if not candidates:
            raise InvalidInputError(
                f"the correction of item {name!r} is for the text {text[:60]!r}, which {items.origin} "
                "does not have anymore; remove this correction, or give it the present text"
            )
        rows[name] = candidates.popleft()
        n_moved += 1
    if n_moved:
        warn_data(
            [
                f"{items.origin}: {n_moved} corrections are in other rows than before, and were found "
                "by their text"
            ]
        )
    return rows


def _without_spacing(text: str) -> str:
    # Spreadsheets change line breaks and blanks.
    return " ".join(text.split())
