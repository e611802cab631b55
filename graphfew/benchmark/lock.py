"""One process at a time per results file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from graphfew._utils.atomic_io import errors_naming_path
from graphfew.errors import ConfigurationError


@contextmanager
def results_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a results file; the system releases it when the process ends.

    Raises:
        ConfigurationError: another process holds it.
    """
    # A lock of the operating system rather than a file that exists: it ends with its process,
    # even if that is killed. The file itself remains, since another process may just have
    # opened it.
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    # The number of the process is kept apart, because locking a file may truncate it.
    holder = path.with_name(f".{path.name}.pid")
    with errors_naming_path(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Waiting would hide that the same benchmark was started twice.
            lock.acquire(timeout=0)
        except Timeout:
            number = ""
            with suppress(OSError, ValueError):
                number = f" ({int(holder.read_text(encoding='ascii'))})"
            raise ConfigurationError(
                f"another process{number} is writing {path}; wait until it ends, or give another "
                "--out"
            ) from None
    try:
        # The number only serves the message above; a full disk may prevent it.
        with suppress(OSError):
            holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        with suppress(OSError):
            # Before the release: afterward the file may already name the next process.
            holder.unlink(missing_ok=True)
        lock.release()
