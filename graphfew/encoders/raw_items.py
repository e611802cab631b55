"""Raw items, texts or images, of any container, and what kind they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from graphfew.data.column_roles import ItemKind
from graphfew.data.io.image_pixels import SUFFIXES
from graphfew.data.label_values import is_arrow, is_arrow_column, tensor_to_array
from graphfew.errors import InvalidInputError, InvalidTypeError

RawItems = Sequence[Any] | NDArray[Any]

_MAX_SHOWN = 5


def item_kind(items: Any) -> ItemKind:
    """Determine whether items are texts, images or features.

    Strings are texts, unless all of them end like the name of an image file. Paths, PIL images,
    and arrays `[n, h, w]` or `[n, h, w, c]` are images; rows of numbers are features.

    Args:
        items: a list, tuple, array, tensor, or column of pandas or Arrow.

    Returns:
        The kind.

    Raises:
        InvalidTypeError: the items are other objects, or of several kinds.
        InvalidInputError: there are no items, or some are missing.

    Example:
        >>> item_kind(["turn on the light", "play some jazz"])
        'text'
        >>> item_kind(["cat/1.png", "dog/2.jpg"])
        'image'
        >>> item_kind([[0.0, 1.0], [1.0, 0.0]])
        'features'
    """
    sequence = to_sequence(items)
    if isinstance(sequence, np.ndarray):
        if sequence.ndim == 2:
            return "features"
        if sequence.ndim in (3, 4):
            return "image"
        raise InvalidInputError(
            f"the items are an array of shape {sequence.shape}; give features [n, F], or images "
            "[n, h, w] or [n, h, w, c]"
        )
    kinds = {_kind_of_type(item) for item in sequence}
    if kinds == {"string"}:
        names_images = all(str(item).lower().endswith(SUFFIXES) for item in sequence)
        return "image" if names_images else "text"
    if kinds <= {"string", "image"}:
        return "image"
    if kinds == {"features"}:
        return "features"
    types = sorted({type(item).__name__ for item in sequence})
    raise InvalidTypeError(
        f"the items are of type {', '.join(types[:_MAX_SHOWN])}; give only texts, only paths of "
        "images, only PIL images, or arrays"
    )


def raw_kind(items: Any) -> Literal["text", "image"] | None:
    """Return the kind of raw items; None for features and for everything else.

    Unlike `item_kind`, it never raises: what it does not recognize has its own checks elsewhere.
    """
    # Tables and sparse matrices have two dimensions, and so have most arrays.
    if getattr(items, "ndim", 1) == 2 or (is_arrow(items) and not is_arrow_column(items)):
        return None
    try:
        kind = item_kind(items)
    except (InvalidInputError, InvalidTypeError):
        return None
    return None if kind == "features" else kind


def to_sequence(items: Any) -> RawItems:
    """Convert items of any container to a list of items, or to an array of numbers.

    Raises:
        InvalidTypeError: the items are one string or no sequence.
        InvalidInputError: there are no items, or some are missing.
    """
    sequence = _unwrap(items)
    if not len(sequence):
        raise InvalidInputError("there are no items; give at least one")
    if not isinstance(sequence, np.ndarray):
        _check_missing(sequence)
    return sequence


def _unwrap(items: Any) -> RawItems:
    if isinstance(items, Tensor):
        return tensor_to_array(items)
    if is_arrow(items):
        if not is_arrow_column(items):
            items = _single_column(items.num_columns, lambda: items.column(0))
        return list(items.to_pylist())
    if hasattr(items, "iloc"):
        if items.ndim == 2:
            frame = items
            items = _single_column(frame.shape[1], lambda: frame.iloc[:, 0])
        return list(items)
    if hasattr(items, "get_columns"):  # a table of polars
        columns = items.get_columns()
        return list(_single_column(len(columns), lambda: columns[0]))
    if isinstance(items, np.ndarray):
        # A column of texts, as scikit-learn's ColumnTransformer passes it.
        if items.dtype.kind in "OUST" and (items.ndim == 1 or items.shape[1:] == (1,)):
            return list(items.ravel().tolist())
        return items
    if isinstance(items, str | bytes) or not (
        hasattr(items, "__len__") and hasattr(items, "__getitem__")
    ):
        raise InvalidTypeError(
            f"the items are a {type(items).__name__}; give a list of texts, image paths or PIL "
            "images, or an array of images"
        )
    # Columns of other libraries, such as Hugging Face datasets and polars, are sequences too.
    return items if isinstance(items, list | tuple) else list(items)


def _single_column(n_columns: int, column: Any) -> Any:
    if n_columns != 1:
        raise InvalidInputError(
            f"the items are a table of {n_columns} columns; give the one column of texts or image "
            "paths"
        )
    return column()


def _check_missing(items: Sequence[Any]) -> None:
    # NaN, with which pandas marks missing text, is the only value that differs from itself.
    rows = [
        row
        for row, item in enumerate(items)
        if item is None or (isinstance(item, float) and item != item)
    ]
    if rows:
        shown = ", ".join(map(str, rows[:_MAX_SHOWN])) + (", …" if len(rows) > _MAX_SHOWN else "")
        raise InvalidInputError(
            f"{len(rows)} of {len(items)} items are missing (rows {shown}); remove them from the "
            "items and the labels"
        )


def _kind_of_type(item: Any) -> str:
    if isinstance(item, str):
        return "string"
    if isinstance(item, Path | Image.Image):
        return "image"
    if isinstance(item, Tensor | np.ndarray) and item.ndim in (2, 3):
        return "image"
    is_number = isinstance(item, int | float | np.number)
    is_vector = hasattr(item, "__len__") and not isinstance(item, bytes | dict | set)
    # A row of texts is no row of numbers.
    is_vector = is_vector and not any(isinstance(value, str) for value in item)
    return "features" if is_number or is_vector else "other"
