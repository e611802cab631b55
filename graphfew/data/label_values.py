"""Labels of any container as one array: lists, NumPy, torch, pandas and Arrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
# Missing values of pandas have types of their own: comparing NA yields NA, without a truth value.
_MISSING_TYPES = ("NAType", "NaTType")


@dataclasses.dataclass(frozen=True, eq=False)
class LabelValues:
    """Labels as an array, with missing ones marked.

    Attributes:
        values: the labels; any value if missing.
        is_missing: None, NaN, NaT, pandas' NA, an Arrow null, or masked; in the shape of `values`.
    """

    values: Array
    is_missing: NDArray[np.bool_]


def label_values(y: Any) -> LabelValues:
    """Convert labels of any container to an array.

    Text or booleans next to other types stay as they are, while NumPy would convert all to one type
    (True next to -1 to 1). Integers that pandas or Arrow store as floats because of missing ones
    become integers again.

    Args:
        y: a list, tuple, array, tensor, or column of pandas or Arrow.

    Returns:
        The labels, in the shape of `y`.

    Example:
        >>> label_values([0, None, 1]).is_missing
        array([False,  True, False])
    """
    if isinstance(y, Tensor):
        return _from_array(tensor_to_array(y))
    if is_arrow(y) and is_arrow_column(y):
        items = y.to_pylist()
        return _from_column(items, np.array([item is None for item in items], dtype=bool))
    if hasattr(y, "isna") and getattr(y, "ndim", None) == 1:
        return _from_column(list(y), np.asarray(y.isna(), dtype=bool))
    if isinstance(y, np.ma.MaskedArray):
        labels = _from_array(y.data)
        return LabelValues(labels.values, labels.is_missing | np.ma.getmaskarray(y))
    if isinstance(y, list | tuple) and _has_mixed_types(y):
        return _from_array(object_array(y))
    return _from_array(np.asarray(y))


def tensor_to_array(value: Tensor) -> Array:
    """Convert a tensor of any device and dtype to an array."""
    value = value.detach().cpu()
    if value.dtype == torch.bfloat16:
        value = value.float()  # NumPy has no bfloat16
    array: Array = value.numpy()
    return array


def object_array(values: Sequence[Any]) -> Array:
    """Convert a sequence to an array of objects `[n]`, whatever the objects are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def is_arrow(value: Any) -> bool:
    """Return whether a value is a table or column of Arrow."""
    # By module name: pyarrow is an optional dependency.
    return type(value).__module__.partition(".")[0] == "pyarrow"


def is_arrow_column(value: Any) -> bool:
    """Return whether a value of Arrow is a column and no table."""
    return not hasattr(value, "column_names") and not hasattr(value, "schema")


def _has_mixed_types(values: Sequence[Any]) -> bool:
    """Whether some values are text or booleans, and others are not."""
    types = {type(value) for value in values}
    return any(len({issubclass(kind, base) for kind in types}) > 1 for base in (str, bool))


def _from_array(values: Array) -> LabelValues:
    if values.dtype.kind == "f":
        return LabelValues(values, np.isnan(values))
    if values.dtype.kind in "mM":
        return LabelValues(values, np.isnat(values))
    is_missing = np.zeros(values.shape, dtype=bool)
    if values.dtype == object:
        missing = np.array([_is_missing(value) for value in values.ravel()], dtype=bool)
        is_missing = missing.reshape(values.shape)
    return LabelValues(values, is_missing)


def _from_column(items: list[Any], is_missing: NDArray[np.bool_]) -> LabelValues:
    """Labels of pandas or Arrow."""
    present = object_array(items)[~is_missing]
    known = np.array(present.tolist())
    if not is_missing.any():
        return _from_array(known if known.dtype.kind in "iufb" else object_array(items))
    # pandas stores integers with missing values as floats.
    is_integer = known.dtype.kind in "iu"
    if known.dtype.kind == "f":
        is_integer = bool((known == np.floor(known)).all())
    if is_integer and len(known):
        values = np.zeros(len(items), dtype=np.int64)
        values[~is_missing] = known
        return LabelValues(values, is_missing)
    return LabelValues(object_array(items), is_missing)


def _is_missing(label: Any) -> bool:
    if label is None or type(label).__name__ in _MISSING_TYPES:
        return True
    if isinstance(label, np.datetime64):
        return bool(np.isnat(label))
    # NaN is the only number that differs from itself.
    return isinstance(label, float | np.floating) and bool(label != label)
