"""Arrays of features or images with labels: NPZ and NPY files. Nothing is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.data_warning import warn_data
from graphfew.data.column_roles import ItemKind
from graphfew.data.io import archives, npz
from graphfew.data.problems import ItemProblem
from graphfew.data.table_columns import counts_rows
from graphfew.data.table_items import TableItems, label_texts
from graphfew.errors import DatasetError, InvalidInputError, MissingFileError

Array = NDArray[Any]
_MAX_NAMES_SHOWN = 8


def read_npz(
    path: Path, features_key: str = "x", label_key: str = "y", *, labels_required: bool = True
) -> TableItems:
    """Read two arrays of an NPZ file: features or images, and labels.

    Args:
        path: the file.
        features_key: name of the features `[n, F]`, or of uint8 images `[n, h, w]` or
            `[n, h, w, c]`.
        label_key: name of the labels, `[n]` text or integers; -1, NaN or another mark if unknown.
        labels_required: whether there must be labels.

    Returns:
        The items, named by their row. Features are float64 if the file has float64, else float32.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file is not NPZ, or an array holds Python objects or has another shape.
        InvalidInputError: an array is missing.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "items.npz")
        >>> np.savez(path, x=np.eye(3), y=np.array([0, 1, -1]))
        >>> read_npz(path).label_texts
        ('0', '1', '-1')
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DatasetError(
                f"{path} is not an NPZ archive; save features and labels with numpy.savez(..., "
                f"{features_key}=..., {label_key}=...)"
            )
    stored_names = npz.array_names(path)
    keys = [features_key]
    if labels_required or label_key in stored_names:
        keys.append(label_key)
    for key in keys:
        if key not in stored_names:
            shown = ", ".join(stored_names[:_MAX_NAMES_SHOWN])
            raise InvalidInputError(
                f"{path} has no array {key!r}; its arrays are {shown}: set --features-key and "
                "--label-key"
            )
    arrays = npz.read_arrays(path, keys)
    return _from_arrays(path, features_key, arrays[features_key], arrays.get(label_key))


def read_npy(path: Path, labels: Path | None = None, *, labels_required: bool = True) -> TableItems:
    """Read an NPY file of features or images, and another one of labels.

    Args:
        path: the file of the items, as in `read_npz`.
        labels: the file of the labels `[n]`.
        labels_required: whether there must be labels.

    Returns:
        The items, as from `read_npz`.

    Raises:
        MissingFileError: no such file of labels.
        DatasetError: a file is not NPY, holds Python objects, or has another shape.
        InvalidInputError: there are no labels.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "x.npy")
        >>> np.save(path, np.eye(3))
        >>> read_npy(path, labels_required=False).names
        ('0', '1', '2')
    """
    if labels is None and labels_required:
        raise InvalidInputError(
            f"{path} has no labels; give a .npy of them as --labels, a table of items and labels as "
            "--corrections, or an .npz of both"
        )
    y = None if labels is None else _load(labels)
    return _from_arrays(path, "the array", _load(path), y)


def _load(path: Path) -> Array:
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}")
    try:
        # Mapped: the header may claim more than the file has, which is an error before memory is
        # allocated.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        array: Array = np.array(mapped)
    except archives.READ_ERRORS as error:
        raise DatasetError(
            f"{path} cannot be read as NPY ({archives.one_line(error)}); save it with numpy.save"
        ) from error
    return array


def _from_arrays(path: Path, key: str, x: Array, y: Array | None) -> TableItems:
    is_image = x.ndim in (3, 4) and x.dtype == np.uint8
    if not (is_image or x.ndim == 2) or (y is not None and y.shape != x.shape[:1]):
        of_labels = "" if y is None else f" and the labels {list(y.shape)}"
        raise DatasetError(
            f"{path}: {key} has shape {list(x.shape)}{of_labels}; expected features [n, F], or "
            "uint8 images [n, h, w] or [n, h, w, c], and one label for each, [n]"
        )
    if not len(x):
        raise DatasetError(f"{path} has no items; it needs at least one labeled item of each class")
    problems: list[ItemProblem] = []
    if not is_image:
        x = _to_float(path, key, x)
        problems = _find_problems(x)
        _report_row_numbers(path, key, x)
    labels = None if y is None else label_texts(str(path), y.tolist())
    names = tuple(str(row) for row in range(len(x)))
    kind: ItemKind = "image" if is_image else "features"
    return TableItems(kind, x, labels, names, tuple(problems), is_numbered=True)


def _to_float(path: Path, key: str, x: Array) -> Array:
    if x.dtype.kind not in "buif":
        raise DatasetError(f"{path}: {key} has dtype {x.dtype}; expected numbers")
    is_double = x.dtype.kind == "f" and x.dtype.itemsize >= 8
    with np.errstate(over="ignore"):  # numbers too large become infinite and are reported
        return x.astype(np.float64 if is_double else np.float32)


def _find_problems(x: Array) -> list[ItemProblem]:
    positions: Sequence[list[int]] = np.argwhere(~np.isfinite(x)).tolist()
    return [
        ItemProblem(row, f"row {row}, column {column}", f"is {x[row, column]}")
        for row, column in positions
    ]


def _report_row_numbers(path: Path, key: str, x: Array) -> None:
    """Warn of columns without a name that count the rows."""
    for position in range(x.shape[1]):
        if counts_rows(x[:, position]):
            warn_data(
                [
                    f"{path}: column {position} of {key} numbers the rows and is used as a feature; "
                    "if it is an id, remove it"
                ]
            )
