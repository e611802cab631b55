"""Atomic file writes: a file is complete, or as it was before.

The package writes checkpoints, results and caches that other processes may read at any time, and
disks fill up. The standard library offers `os.replace`, but no context manager around it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graphfew.errors import WriteError


def with_suffix(path: str | Path, suffix: str) -> Path:
    """Append a suffix to a path unless it already ends with it."""
    path = Path(path)
    if path.suffix == suffix:
        return path
    # Path.with_suffix would replace what follows a dot in the name: "resnet.v2" is a name.
    return path.with_name(path.name + suffix)


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` if the block succeeds.

    A reader of `path` sees either the old file or the complete new one. Missing folders are
    created. The temporary file is removed if the block fails.

    Raises:
        WriteError: the file cannot be written; an existing one is unchanged.
    """
    # In the same folder, because a rename is atomic only inside one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with errors_naming_path(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        # If the folder could not be created, unlink fails too; the first error is the one to see.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write a text file atomically, as `atomic_replace`."""
    with atomic_replace(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def append_text(path: Path, content: str) -> None:
    """Append to a text file, completely or not at all; missing folders are created.

    Raises:
        WriteError: the text cannot be written; the file is unchanged.
    """
    with errors_naming_path(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            old_size = file.tell()
            try:
                file.write(content.encode("utf-8"))
                file.flush()
            except OSError:
                # Close the raw file first: closing the buffered one would write its rest again.
                file.raw.close()
                os.truncate(path, old_size)
                raise


def check_writable(path: Path) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Raises:
        WriteError: its folder, or the nearest one that exists, is not writable.
    """
    # Folders are created on writing; the nearest existing parent decides whether that works.
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    # A trial is more reliable than `os.access`, in particular on network file systems.
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written ({error.strerror}: {folder}); give a writable path"
        ) from error


@contextmanager
def errors_naming_path(path: Path) -> Iterator[None]:
    """Convert an OSError of the block to a WriteError that names the file and the remedy."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        # Some libraries raise an OSError without strerror, with line breaks, or without a message.
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        write_error = WriteError(
            f"{path} cannot be written ({reason}); free disk space, or choose a path with write "
            "permission. An existing file is unchanged"
        )
        write_error.errno = error.errno
        raise write_error from error
