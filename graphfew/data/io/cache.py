"""A cache of arrays that are slow to compute: written atomically, and rebuilt if damaged."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphfew.data.io.npz import read_arrays

Arrays = Mapping[str, NDArray[np.generic]]

# Part of every file name: increase it if the meaning of cached arrays changes.
FORMAT_VERSION = 1
ABANDONED_SECONDS = 24 * 3600
_BLOCK_BYTES = 1 << 20
# Hexadecimal digits: 64 bits tell files apart, and names stay short.
_KEY_LENGTH = 16


def cache_folder() -> Path:
    """Return `$GRAPHFEW_CACHE` if it is set, else the user's cache folder for graphfew."""
    configured = os.environ.get("GRAPHFEW_CACHE")
    if configured:
        return Path(configured)
    # pooch and rich take a fifth of the library's import time, and most work on features needs
    # neither.
    import pooch

    return Path(pooch.os_cache("graphfew"))


def load_or_build(
    key: str, names: Iterable[str], build: Callable[[], Arrays]
) -> dict[str, NDArray[np.generic]]:
    """Load arrays from the cache, or build and store them.

    A file that is damaged or lacks a name is built again. If the folder is not writable, the arrays
    are returned with a warning.

    Args:
        key: name of the cache file, which has to identify the content.
        names: names of the arrays.
        build: computes the arrays, at least those of `names`.

    Returns:
        The arrays by name.
    """
    path = cache_folder() / f"{key}-v{FORMAT_VERSION}.npz"
    if path.is_file():
        try:
            return read_arrays(path, names)
        except (OSError, ValueError):
            pass  # damaged, or from another version: build it again
    arrays = dict(build())
    write_arrays(path, arrays, stacklevel=4)
    return arrays


def write_arrays(
    path: Path, arrays: Arrays, *, compressed: bool = True, stacklevel: int = 3
) -> None:
    """Write a file of the cache atomically; a folder that is not writable is a warning.

    Args:
        path: the file, which is replaced if it exists.
        arrays: its content by name.
        compressed: whether the file is compressed.
        stacklevel: of the warning.
    """
    try:
        _write(path, arrays, np.savez_compressed if compressed else np.savez)
    except OSError as error:
        warnings.warn(
            f"cannot write the cache {path} ({error}); set GRAPHFEW_CACHE to a writable folder",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def content_key(path: Path) -> str:
    """Return a key of a file by its content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()[:_KEY_LENGTH]


def fingerprint(paths: Iterable[Path]) -> str:
    """Return a key of files by name, size and modification time, for folders too large to read."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        # A path cannot contain NUL, so two different lists never give the same bytes.
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:_KEY_LENGTH]


def _write(path: Path, arrays: Arrays, save: Callable[..., None]) -> None:
    # Not `_utils.atomic_io`: several processes and threads may build the same file at once, so each
    # writes to a temporary file with a unique name, and what a killed process leaves is removed
    # later.
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            save(file, **arrays)
        # Atomic within a file system, hence the temporary file in the same folder.
        os.replace(partial, path)
    # Interrupts included: otherwise the partial file would remain for a day.
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _remove_abandoned(path: Path) -> None:
    """Remove partial files of killed processes; recent ones may still be in use."""
    for partial in path.parent.glob(f".{path.stem}-*.partial"):
        with suppress(OSError):
            age = time.time() - partial.stat().st_mtime
            if age > ABANDONED_SECONDS:
                partial.unlink()
