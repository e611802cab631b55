"""Given labels for items that the classifier has labeled itself before."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.estimators import _validation

Array = NDArray[Any]
# Rows that are looked at to choose the column by which rows are searched, and rows that are dense
# at a time.
_SAMPLE, _CHUNK = 100, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Corrections:
    """New labels of earlier items.

    Attributes:
        rows: `[k]` rows of the earlier items whose label is replaced.
        class_index: `[k]` their given classes.
        is_new: `[m]` bool, further items that replace no label and are added.
        n_contradictions: number of further items that equal an earlier one with another given
            label.
    """

    rows: NDArray[np.int64]
    class_index: NDArray[np.int64]
    is_new: NDArray[np.bool_]
    n_contradictions: int


def find_corrections(
    previous: Any,
    previous_index: Array,
    was_unlabeled: NDArray[np.bool_],
    items: Any,
    class_index: Array,
) -> Corrections:
    """Find the further items that are earlier, unlabeled ones with a label.

    Items are the same if all their values are equal. Equal items that were unlabeled before take
    the given labels in order; if fewer labels are given, the others take the last one.

    Args:
        previous: `[n, ...]` earlier items.
        previous_index: `[n]` their given or predicted classes.
        was_unlabeled: `[n]` bool, whether an earlier item was added without a label.
        items: `[m, ...]` further items.
        class_index: `[m]` their classes; -1 if unknown.

    Returns:
        The labels to replace.
    """
    labeled = np.flatnonzero(class_index >= 0)
    is_new = np.ones(len(class_index), dtype=bool)
    if not len(labeled):
        return Corrections(labeled, labeled, is_new, 0)
    dtype = min(previous.dtype, items.dtype, key=lambda dtype: dtype.itemsize)
    keys = _row_keys(items[labeled], dtype)
    rows_of = _rows_by_key(previous, keys, dtype)
    open_rows = {key: [row for row in rows if was_unlabeled[row]] for key, rows in rows_of.items()}
    corrected: dict[int, int] = {}
    last_label: dict[bytes, int] = {}
    n_contradictions = 0
    for position, key in zip(labeled.tolist(), keys, strict=True):
        label = int(class_index[position])
        if open_rows.get(key):
            corrected[open_rows[key].pop(0)] = label
            last_label[key] = label
            is_new[position] = False
        elif key not in last_label:
            others = [previous_index[row] != label for row in rows_of.get(key, ())]
            n_contradictions += any(others)
    for key, label in last_label.items():
        corrected |= dict.fromkeys(open_rows[key], label)
    rows = np.array(list(corrected), dtype=np.int64)
    labels = np.array(list(corrected.values()), dtype=np.int64)
    return Corrections(rows, labels, is_new, n_contradictions)


def _rows_by_key(previous: Any, keys: list[bytes], dtype: np.dtype[Any]) -> dict[bytes, list[int]]:
    """The rows `previous` with one of the keys."""
    # One varied column first, because this excludes nearly all rows without copying them.
    sample = _dense_rows(previous[:_SAMPLE], dtype)
    column = int((sample != sample[0]).sum(0).argmax())
    key_values = [np.frombuffer(key, dtype=dtype)[column] for key in keys]
    n_rows = previous.shape[0]
    parts = []
    for start in range(0, n_rows, _CHUNK):
        values = _dense_rows(previous[start : start + _CHUNK], dtype)[:, column]
        parts.append(start + np.flatnonzero(np.isin(values, key_values)))
    candidates = np.concatenate(parts)
    wanted = set(keys)
    rows_of: dict[bytes, list[int]] = {}
    for start in range(0, len(candidates), _CHUNK):
        rows = candidates[start : start + _CHUNK]
        for row, key in zip(rows.tolist(), _row_keys(previous[rows], dtype), strict=True):
            if key in wanted:
                rows_of.setdefault(key, []).append(row)
    return rows_of


def _row_keys(rows: Any, dtype: np.dtype[Any]) -> list[bytes]:
    # Adding zero turns -0.0 into 0.0: they are equal, but their bytes differ.
    return [row.tobytes() for row in _dense_rows(rows, dtype) + dtype.type(0)]


def _dense_rows(rows: Any, dtype: np.dtype[Any]) -> Array:
    """`[n, F]` rows, also of images and of sparse items."""
    dense: Array = _validation.to_dense(rows).astype(dtype, copy=False)
    return dense.reshape(len(dense), -1)
