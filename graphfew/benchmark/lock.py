"""One process at a time: a lock that the system gives back when its process ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graphfew._utils.atomic_io import errors_naming_path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a results file while the block runs.

    Raises:
        ValueError: another process holds it.
        Unwritten: an `OSError`: the folder cannot be written to.
    """
    place = path.with_name(f".{path.name}.lock")
    with errors_naming_path(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _open(place, path)
    try:
        # The number is for a message alone; a full disk has no room for it.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        # Removed while it is still held; on Windows a file in use stays.
        with suppress(OSError):
            place.unlink(missing_ok=True)
        os.close(handle)


def _open(place: Path, path: Path) -> int:
    """The lock's file, held. One that its last holder has removed meanwhile is left for the one in its place."""
    while True:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        if not _taken(handle):
            os.close(handle)
            raise ValueError(
                f"another process{_holder(place)} is writing {path}; wait until it ends, or give another "
                "--out"
            )
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == place.stat().st_ino:
                return handle
        os.close(handle)


def _holder(place: Path) -> str:
    """The number of the process that holds the lock, where it can be read."""
    try:
        number = place.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return f" ({number})" if number.isdigit() else ""


def _taken(handle: int) -> bool:
    """Whether the lock is ours now."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
