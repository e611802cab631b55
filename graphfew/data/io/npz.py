"""NPZ files from unknown sources: never unpickled, and sizes are checked before reading."""

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
from graphfew.errors import DatasetError, MissingFileError

# Version 3.0 exists only for field names of structured dtypes, which no data set here has.
_HEADER_READERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
# numpy itself limits a header to 10,000 characters.
_MAX_HEADER_BYTES = 70_000
_MAX_NAMES_SHOWN = 8


def array_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in an NPZ file; errors are those of `read_arrays`."""
    try:
        with archives.open_zip(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except archives.READ_ERRORS as error:
        raise _read_error(path, error) from error


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read arrays of an NPZ file by name.

    Raises:
        MissingFileError: no such file.
        DatasetError: the file is not an NPZ file, or an array is missing, damaged, holds Python
            objects, differs from its stated size, or exceeds the limits of `archives`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with archives.open_zip(path) as archive:
            for name in names:
                arrays[name] = _read_array(archive, name)
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}") from error
    except archives.READ_ERRORS as error:
        raise _read_error(path, error) from error
    return arrays


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    stored_names = set(archive.namelist())
    if f"{name}.npy" not in stored_names:
        short_names = sorted(entry.removesuffix(".npy")[:40] for entry in stored_names)
        shown = ", ".join(short_names[:_MAX_NAMES_SHOWN]) or "none"
        raise DatasetError(f"it has no array {name!r}; its arrays are {shown}")
    entry = archives.check_entry(archive, f"{name}.npy")
    with archive.open(entry) as file:
        header = io.BytesIO(file.read(_MAX_HEADER_BYTES))
    shape, dtype = _read_header(name, header)
    # numpy would allocate the stated shape before it reads: compare with what the entry holds
    # first.
    stated_bytes = header.tell() + math.prod(shape) * dtype.itemsize
    if stated_bytes != entry.file_size:
        raise DatasetError(
            f"{name} does not have the size that it states, shape {str(shape)[:80]} of "
            f"{str(dtype)[:80]}"
        )
    with archive.open(entry) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _read_header(name: str, header: io.BytesIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(header)
    if version not in _HEADER_READERS:
        raise DatasetError(
            f"{name} has version {version} of the NPY format; versions 1.0 and 2.0 are supported"
        )
    shape, _, dtype = _HEADER_READERS[version](header)
    if dtype.hasobject:
        raise DatasetError(
            f"{name} cannot be read: it holds Python objects, which are never unpickled "
            "(allow_pickle=False); save text with dtype str and numbers as numbers"
        )
    # Two negative lengths have a positive product, which would pass the check of the size.
    if any(length < 0 for length in shape):
        raise DatasetError(f"{name} states the shape {shape}")
    return shape, dtype


def _read_error(path: Path, error: BaseException) -> DatasetError:
    return DatasetError(
        f"{path} cannot be read as NPZ ({archives.one_line(error)}); write it again with "
        "numpy.savez"
    )
