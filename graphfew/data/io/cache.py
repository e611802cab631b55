"""A folder of arrays that are slow to make: written whole or not at all, and rebuilt when they cannot be read."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from graphfew.data.io.npz import read_arrays

Arrays = Mapping[str, NDArray[np.generic]]
Item = TypeVar("Item")
FORMAT = 1
BLOCK = 1 << 20
# Seconds after which a file that is half written is one that nobody writes any more.
ABANDONED = 24 * 3600


def folder() -> Path:
    """`$GRAPHFEW_CACHE` where it is set, else the user's cache folder for graphfew."""
    own = os.environ.get("GRAPHFEW_CACHE")
    if own:
        return Path(own)
    import pooch  # with rich, a fifth of what the library takes to import; most work on features needs neither

    return Path(pooch.os_cache("graphfew"))


def cached(
    key: str, names: Iterable[str], build: Callable[[], Arrays]
) -> dict[str, NDArray[np.generic]]:
    """The arrays `names` of `build()`, read from the cache where `key` has them, else built and kept there.

    A file that is damaged or lacks a name is built again. Where the folder cannot be written, the arrays are returned
    all the same, with a warning.
    """
    path = folder() / f"{key}-v{FORMAT}.npz"
    if path.is_file():
        try:
            return read_arrays(path, names)
        except (OSError, ValueError):
            pass
    arrays = dict(build())
    try:
        _write(path, arrays)
    except OSError as error:
        warnings.warn(
            f"cannot write the cache {path} ({error}); set GRAPHFEW_CACHE to a folder you may write",
            RuntimeWarning,
            stacklevel=3,
        )
    return arrays


def content_key(path: Path) -> str:
    """A key of a file by its content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()[:16]


def fingerprint(paths: Iterable[Path]) -> str:
    """A key of files by their names, sizes and times, for folders too big to read whole."""
    digest = hashlib.sha256()
    for path in paths:
        facts = path.stat()
        digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def counting(label: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A function that is told how many are done, with a progress bar on standard error where `show` is true."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not show) as progress:
        bar = progress.add_task(label, total=total)
        yield lambda done: progress.update(bar, completed=done)


def progressing(items: Iterable[Item], label: str, total: int, show: bool) -> Iterable[Item]:
    """The items, with a progress bar on standard error where `show` is true."""
    from rich.console import Console
    from rich.progress import track

    return track(
        items, label, total=total, disable=not show, console=Console(stderr=True), transient=True
    )


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types its own flag as a keyword
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _sweep(path: Path) -> None:
    """Take away what a process left that was killed while it wrote this file; newer ones may still be written."""
    for partial in path.parent.glob(f".{path.stem}-*.partial"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()
