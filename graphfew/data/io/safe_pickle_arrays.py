"""What stands for the few names that a pickle of arrays may hold: functions that build arrays and check every part."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LATIN = ("latin1", "latin-1")
# numpy's core module before and since numpy 2
CORES = ("numpy.core", "numpy._core")
# the module of Python's own types in 2 and 3
OWN = ("__builtin__", "builtins")
# what a key may be
PARTS = (str, bytes, int, float, type(None), np.generic)
_DTYPE = re.compile(r"[<>|=]?(?:[biufc]\d{1,2}|[SU]\d{1,9}|O\d?)")


@dataclasses.dataclass(frozen=True)
class Name:
    """A name that a pickle mentions, not what bears it."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Blank:
    """An array whose shape and values are still to come."""


def built(value: Any, state: Any) -> Any:
    """An array or dtype with its state. Raises ValueError for anything else."""
    if isinstance(value, np.dtype) and isinstance(state, tuple) and len(state) >= 8:
        return _ordered(value, *state[1:5])
    if isinstance(value, Blank) and isinstance(state, tuple) and len(state) == 5:
        return _array(*state[1:])
    raise ValueError(
        f"it gives a state to a {type(value).__name__}; only arrays and dtypes take one"
    )


def _array(shape: Any, dtype: Any, fortran: Any, raw: Any) -> NDArray[Any]:
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return _of_objects(shape, fortran, raw)
    data = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, np.dtype):
        raise ValueError(
            f"an array's values are a {type(raw).__name__} of {dtype!r}; bytes of a dtype are due"
        )
    if len(data) != math.prod(_shape(shape)) * dtype.itemsize:
        raise ValueError(f"an array of shape {shape} and {dtype} has {len(data)} bytes")
    out: NDArray[Any] = np.ndarray(shape, dtype, buffer=data, order="F" if fortran else "C")
    return out


def _of_objects(shape: Any, fortran: Any, values: Any) -> NDArray[Any]:
    """An array of values that were read already."""
    if not isinstance(values, list) or len(values) != math.prod(_shape(shape)):
        raise ValueError(f"an array of objects of shape {shape} has values of another number")
    out: NDArray[Any] = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    whole: NDArray[Any] = out.reshape(shape, order="F" if fortran else "C")
    return whole


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array has shape {shape!r}; whole numbers from 0 are due")
    return shape


def _buffered(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> NDArray[Any]:
    """An array of protocol 5; one in no plain order comes with the order of its axes."""
    if order == "K" and axes is not None:
        turned: NDArray[Any] = _array(shape, dtype, False, data).transpose(axes)
        return turned
    return _array(shape, dtype, order == "F", data)


def _blank(kind: Any, shape: Any, code: Any) -> Blank:
    if kind != Name("numpy", "ndarray"):
        raise ValueError(f"an array is of kind {kind!r}; only numpy.ndarray is known")
    return Blank()


def _scalar(dtype: Any, raw: Any) -> Any:
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        raise ValueError("a scalar holds an object, which is refused")
    return _array((), dtype, False, raw)[()]


def _dtype(code: Any, align: Any = False, copy: Any = True) -> np.dtype[Any]:
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise ValueError(
            f"a dtype is {code!r}; only numbers, texts and objects without fields are known"
        )
    return np.dtype(code)


def _ordered(
    dtype: np.dtype[Any], order: Any, subtype: Any, names: Any, fields: Any
) -> np.dtype[Any]:
    if order not in ("<", ">", "|", "=") or not (subtype is names is fields is None):
        raise ValueError(
            f"a dtype has order {order!r} and fields {names!r}; only plain ones are known"
        )
    return dtype.newbyteorder(order) if order in "<>" else dtype


def _encoded(text: Any, encoding: Any = "") -> bytes:
    """Bytes, as protocols before 3 write them."""
    if not isinstance(text, str) or encoding not in LATIN:
        raise ValueError(
            f"it encodes a {type(text).__name__} as {encoding!r}; only text as latin1 is known"
        )
    return text.encode("latin-1")


def _bytes() -> bytes:
    return b""


def _bytearray(data: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(data if isinstance(data, bytes) else _encoded(data, encoding))


def _set(items: list[Any]) -> set[Any]:
    return set(keys(items))


def _frozenset(items: list[Any]) -> frozenset[Any]:
    return frozenset(keys(items))


def keys(values: list[Any]) -> list[Any]:
    """The values, which may be keys: Python crashes where it is to find the place of a tuple nested too deep.

    Raises:
        ValueError: one that is no text, number or flat tuple of these.
    """
    for value in values:
        for part in value if type(value) is tuple else (value,):
            if not isinstance(part, PARTS):
                raise ValueError(
                    f"a key or member of a set is a {type(value).__name__} with a {type(part).__name__}; "
                    "texts, numbers and flat tuples of them are known"
                )
    return values


MARKERS = frozenset({("numpy", "ndarray")})
BUILDERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{(f"{core}.multiarray", "_reconstruct"): _blank for core in CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in CORES},
    **{(f"{core}.numeric", "_frombuffer"): _buffered for core in CORES},
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encoded,
    **{(own, "bytes"): _bytes for own in OWN},
    **{(own, "bytearray"): _bytearray for own in OWN},
    **{(own, "set"): _set for own in OWN},
    **{(own, "frozenset"): _frozenset for own in OWN},
}
