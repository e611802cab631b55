"""Files that are whole or not there: written beside and renamed, or taken back where there was no room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graphfew.errors import WriteError


def with_suffix(path: str | Path, suffix: str) -> Path:
    """The path, with that suffix added where it has another or none."""
    path = Path(path)
    return path if path.suffix == suffix else path.with_name(path.name + suffix)


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, renamed onto it when the block ends, removed where the block fails.

    A reader of `path` sees the old file or the new one, whole. Folders are made.

    Raises:
        Unwritten: there is no room, or no right to write there; the file is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with errors_naming_path(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            os.replace(beside, path)
    finally:
        # Where the folder is none, there is nothing to take away.
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write beside and rename: a reader sees the old file or the new one, whole. Raises as `replacing` does."""
    with atomic_replace(path) as beside:
        beside.write_text(content, encoding="utf-8")


def append_text(path: Path, content: str) -> None:
    """Add text to the end of a file, all of it or nothing; folders are made. Raises as `replacing` does."""
    with errors_naming_path(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            before = file.tell()
            try:
                file.write(content.encode("utf-8"))
                file.flush()
            except OSError:
                # What is left in the buffer would be written again when the file is closed.
                file.raw.close()
                os.truncate(path, before)
                raise


@contextmanager
def errors_naming_path(path: Path) -> Iterator[None]:
    """An OSError of the block is one that names the file that was to be written, and says what to do."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        fault = WriteError(
            f"{path} cannot be written ({reason}); free some room there, or give a place that you may "
            "write to. What was there before is as it was"
        )
        fault.errno = error.errno
        raise fault from error
