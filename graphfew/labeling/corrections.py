"""Corrections: a table of labels that replace those of items."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from graphfew._utils.data_warning import warn_data
from graphfew.data.label_marks import suggest_argument
from graphfew.data.label_values import label_values
from graphfew.data.labels import resolve_labels
from graphfew.data.partially_labeled import PartiallyLabeledItems
from graphfew.errors import DatasetError, InvalidInputError, MissingFileError

ITEM_COLUMN, LABEL_COLUMN, GIVEN_COLUMN = "item", "label", "given"


def read_corrections(path: Path) -> dict[str, str]:
    """Read a CSV table with the columns `item` and `label`.

    In a table that `graphfew label` wrote, only the rows with `given` = true are corrections: the
    others are its own predictions.

    Args:
        path: the file.

    Returns:
        The label of each item name.

    Raises:
        MissingFileError: no such file.
        DatasetError: the file is not CSV in UTF-8, a column is missing, or an item has two labels.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "corrections.csv")
        >>> _ = path.write_text("item,label\\n7,cat\\n")
        >>> read_corrections(path)
        {'7': 'cat'}
    """
    if not path.is_file():
        raise MissingFileError(f"there is no {path}; give a .csv with the columns item and label")
    labels: dict[str, str] = {}
    n_skipped = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            for column in (ITEM_COLUMN, LABEL_COLUMN):
                if column not in columns:
                    raise DatasetError(
                        f"{path} has no column {column!r}; corrections need the columns "
                        f"{ITEM_COLUMN} and {LABEL_COLUMN}"
                    )
            for row in reader:
                # Short rows have None; a table without the column holds corrections only.
                if (row.get(GIVEN_COLUMN, "true") or "").strip().lower() != "true":
                    n_skipped += 1
                    continue
                name, label = row[ITEM_COLUMN], row[LABEL_COLUMN] or ""
                if labels.setdefault(name, label) != label:
                    raise DatasetError(
                        f"{path}, line {reader.line_num}: item {name!r} has the labels "
                        f"{labels[name]!r} and {label!r}; give it one"
                    )
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not text in UTF-8 ({error.reason}); save it as CSV in UTF-8"
        ) from error
    except csv.Error as error:
        raise DatasetError(f"{path} is not CSV ({error}); save it as CSV again") from error
    if n_skipped:
        warn_data(
            [
                f"{path}: {n_skipped} rows are no corrections, as {GIVEN_COLUMN} is not true; set it "
                "to true where you corrected a label"
            ]
        )
    return labels


def correct_labels(
    items: PartiallyLabeledItems,
    corrections: dict[str, str],
    unlabeled_marks: Sequence[str] | None = None,
    suggest: Callable[[Sequence[str]], str] = suggest_argument,
) -> PartiallyLabeledItems:
    """Replace labels of items, whether they were unknown or given.

    Corrections without a label change nothing, which a warning reports.

    Args:
        items: the items with their given labels.
        corrections: the label of each item name.
        unlabeled_marks: the marks of unknown labels; None takes the default ones.
        suggest: describes how the caller sets the marks.

    Returns:
        The items with the labels replaced.

    Raises:
        InvalidInputError: no item, or several, have the name of a correction.

    Example:
        >>> import numpy as np
        >>> items = PartiallyLabeledItems(np.eye(3), ("cat", "dog", None), ("0", "1", "2"))
        >>> correct_labels(items, {"1": "cow", "2": "cat"}).labels
        ('cat', 'cow', 'cat')
    """
    rows_of_name: dict[str, list[int]] = {}
    for row, name in enumerate(items.names):
        rows_of_name.setdefault(name, []).append(row)
    for name in corrections:
        n_rows = len(rows_of_name.get(name, ()))
        if n_rows != 1:
            raise InvalidInputError(
                f"the correction of item {name!r} fits {n_rows} items; the names of corrections "
                "must be those of the table that graphfew label writes, each of one item"
            )
    resolved = resolve_labels(
        label_values(list(corrections.values())),
        unlabeled_marks,
        previous_classes=items.classes,
        suggest=suggest,
    )
    warn_data(resolved.notes)
    labels = list(items.labels)
    n_empty = int(resolved.is_unknown.sum())
    values = zip(corrections, resolved.values.tolist(), resolved.is_unknown.tolist(), strict=True)
    for name, label, is_unknown in values:
        if not is_unknown:
            labels[rows_of_name[name][0]] = label.strip()
    if n_empty:
        warn_data([f"{n_empty} of {len(corrections)} corrections have no label and change nothing"])
    return dataclasses.replace(items, labels=tuple(labels))
