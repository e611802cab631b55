"""Arrays of an NPZ of unknown origin: never unpickled, and never more memory than the file has a claim to."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from graphfew.data.io import archives

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# Bytes of an array's header, which numpy itself bounds at 10,000.
HEAD = 70_000


def names(path: Path) -> tuple[str, ...]:
    """The arrays of an NPZ. Raises as `read_arrays` does."""
    try:
        with archives.opened(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except archives.BROKEN as error:
        raise _unread(path, error) from error


def read_arrays(path: Path, wanted: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Arrays of an NPZ by name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no NPZ, an array that is missing or damaged, holds Python objects, is not of the size that it
            states, or would inflate beyond all measure (see `archives`).
    """
    found: dict[str, NDArray[Any]] = {}
    try:
        with archives.opened(path) as archive:
            for name in wanted:
                found[name] = _array(archive, name)
    except FileNotFoundError:
        raise
    except archives.BROKEN as error:
        raise _unread(path, error) from error
    return found


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    stored = set(archive.namelist())
    if f"{name}.npy" not in stored:
        some = ", ".join(sorted(entry.removesuffix(".npy")[:40] for entry in stored)[:8]) or "none"
        raise ValueError(f"it has no array {name!r}; its arrays are {some}")
    entry = archives.checked(archive, f"{name}.npy")
    with archive.open(entry) as file:
        head = io.BytesIO(file.read(HEAD))
    shape, dtype = _header(name, head)
    if head.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
        raise ValueError(
            f"{name} is not of the size that it states, shape {str(shape)[:80]} of {str(dtype)[:80]}"
        )
    with archive.open(entry) as file:
        out: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return out


def _header(name: str, head: io.BytesIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(head)
    if version not in HEADERS:
        raise ValueError(
            f"{name} is of version {version} of numpy's format; versions 1.0 and 2.0 are read"
        )
    shape, _, dtype = HEADERS[version](head)
    if dtype.hasobject:
        raise ValueError(
            f"{name} cannot be read: it holds Python objects, which are never unpickled "
            "(allow_pickle=False); save text with dtype str and numbers as numbers"
        )
    if any(side < 0 for side in shape):
        raise ValueError(f"{name} states the shape {shape}")
    return shape, dtype


def _unread(path: Path, error: BaseException) -> ValueError:
    return ValueError(
        f"{path} cannot be read as NPZ ({archives.reason(error)}); write it anew with numpy.savez"
    )
