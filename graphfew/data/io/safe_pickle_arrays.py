"""Builders for the few objects that a pickle of arrays may contain; all check their arguments."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.errors import DatasetError

_LATIN1 = ("latin1", "latin-1")
# numpy's core module before and since numpy 2.
_NUMPY_CORES = ("numpy.core", "numpy._core")
# The module of the built-in types in Python 2 and 3.
_BUILTINS = ("__builtin__", "builtins")
_KEY_TYPES = (str, bytes, int, float, type(None), np.generic)
_DTYPE = re.compile(r"[<>|=]?(?:[biufc]\d{1,2}|[SU]\d{1,9}|O\d?)")


@dataclasses.dataclass(frozen=True)
class GlobalName:
    """A name that a pickle refers to. It is never imported."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class PendingArray:
    """An array whose shape and values have not been read yet."""


def set_state(value: Any, state: Any) -> Any:
    """Return an array or dtype with the state that the pickle gives it."""
    # Version, byte order, subtype, names, fields, and three numbers that the code implies.
    if isinstance(value, np.dtype) and isinstance(state, tuple) and len(state) >= 8:
        return _with_byte_order(value, *state[1:5])
    # Version, shape, dtype, whether the order is Fortran's, and the values.
    if isinstance(value, PendingArray) and isinstance(state, tuple) and len(state) == 5:
        return _build_array(*state[1:])
    raise DatasetError(
        f"it sets the state of a {type(value).__name__}; only arrays and dtypes have one"
    )


def check_keys(values: list[Any]) -> list[Any]:
    """Return the values if they may be keys of a dict or members of a set.

    Python crashes when it hashes a tuple that is nested too deeply, so tuples have to be flat.

    Raises:
        DatasetError: a value is not text, a number or a flat tuple of these.
    """
    for value in values:
        parts = value if type(value) is tuple else (value,)
        for part in parts:
            if not isinstance(part, _KEY_TYPES):
                raise DatasetError(
                    f"a key or member of a set is a {type(value).__name__} with a "
                    f"{type(part).__name__}; only text, numbers and flat tuples are supported"
                )
    return values


def _build_array(shape: Any, dtype: Any, is_fortran: Any, raw: Any) -> NDArray[Any]:
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return _build_object_array(shape, is_fortran, raw)
    # Python 2 writes bytes as text, one character per byte.
    data = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, np.dtype):
        raise DatasetError(
            f"an array's values are a {type(raw).__name__} of {dtype!r}; expected bytes and a dtype"
        )
    # numpy would read past the end of the buffer if the sizes differed.
    if len(data) != math.prod(_check_shape(shape)) * dtype.itemsize:
        raise DatasetError(f"an array of shape {shape} and {dtype} has {len(data)} bytes")
    array: NDArray[Any] = np.ndarray(shape, dtype, buffer=data, order="F" if is_fortran else "C")
    return array


def _build_object_array(shape: Any, is_fortran: Any, values: Any) -> NDArray[Any]:
    """Build an array of values that have been read already."""
    if not isinstance(values, list) or len(values) != math.prod(_check_shape(shape)):
        raise DatasetError(f"an array of objects has shape {shape} and another number of values")
    # Element by element: `np.array(values)` would look into nested sequences.
    array: NDArray[Any] = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    shaped: NDArray[Any] = array.reshape(shape, order="F" if is_fortran else "C")
    return shaped


def _check_shape(shape: Any) -> tuple[int, ...]:
    # The exact type excludes bool; two negative lengths would have a positive product.
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise DatasetError(f"an array has shape {shape!r}; expected integers of at least 0")
    return shape


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> NDArray[Any]:
    """Build an array of pickle protocol 5; `axes` gives the order of its axes in memory."""
    if order == "K" and axes is not None:
        transposed: NDArray[Any] = _build_array(shape, dtype, False, data).transpose(axes)
        return transposed
    return _build_array(shape, dtype, order == "F", data)


def _start_array(kind: Any, shape: Any, code: Any) -> PendingArray:
    if kind != GlobalName("numpy", "ndarray"):
        raise DatasetError(f"an array has type {kind!r}; only numpy.ndarray is supported")
    # numpy writes an empty shape and dtype here; the real ones follow with BUILD.
    return PendingArray()


def _build_scalar(dtype: Any, raw: Any) -> Any:
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        raise DatasetError("a scalar holds an object, which is not supported")
    return _build_array((), dtype, False, raw)[()]


def _build_dtype(code: Any, align: Any = False, copy: Any = True) -> np.dtype[Any]:
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise DatasetError(
            f"a dtype is {code!r}; only numbers, text and objects without fields are supported"
        )
    return np.dtype(code)


def _with_byte_order(
    dtype: np.dtype[Any], order: Any, subtype: Any, names: Any, fields: Any
) -> np.dtype[Any]:
    if order not in ("<", ">", "|", "=") or not (subtype is names is fields is None):
        raise DatasetError(
            f"a dtype has order {order!r} and fields {names!r}; only plain dtypes are supported"
        )
    return dtype.newbyteorder(order) if order in "<>" else dtype


def _encode_text(text: Any, encoding: Any = "") -> bytes:
    """Build bytes the way protocols before 3 write them: as text."""
    if not isinstance(text, str) or encoding not in _LATIN1:
        raise DatasetError(
            f"it encodes a {type(text).__name__} as {encoding!r}; only text as latin1 is supported"
        )
    return text.encode("latin-1")


def _build_bytes() -> bytes:
    # Protocols before 3 write empty bytes as a call of `bytes` without arguments.
    return b""


def _build_bytearray(data: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(data if isinstance(data, bytes) else _encode_text(data, encoding))


def _build_set(items: list[Any]) -> set[Any]:
    return set(check_keys(items))


def _build_frozenset(items: list[Any]) -> frozenset[Any]:
    return frozenset(check_keys(items))


# Names that may appear as arguments but are never called.
ARGUMENT_NAMES = frozenset({("numpy", "ndarray")})
# Names that may be called, and the function of this module that is called instead.
BUILDERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{(f"{core}.multiarray", "_reconstruct"): _start_array for core in _NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): _build_scalar for core in _NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _NUMPY_CORES},
    ("numpy", "dtype"): _build_dtype,
    ("_codecs", "encode"): _encode_text,
    **{(module, "bytes"): _build_bytes for module in _BUILTINS},
    **{(module, "bytearray"): _build_bytearray for module in _BUILTINS},
    **{(module, "set"): _build_set for module in _BUILTINS},
    **{(module, "frozenset"): _build_frozenset for module in _BUILTINS},
}
