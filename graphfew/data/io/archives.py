"""Zip archives of unknown origin: what they would inflate to is known, and bounded, before anything is inflated."""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# What a file may hold, or a fault of Python's own reader on what it may not.
BROKEN = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    EOFError,
    TypeError,
    AttributeError,
    OverflowError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
# Bytes of the list of entries: tieredImageNet's and CIFAR-100's take a few megabytes, at 13 times that in memory.
LIST = 64_000_000
# Bytes that an entry may inflate to, whatever its size in the archive, and how many times that size beyond them.
FREE_BYTES, RATIO = 500_000_000, 50
_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


def reason(error: BaseException) -> str:
    """What an error says, in one line that is not too long to read."""
    return " ".join(str(error).split())[:500] or type(error).__name__


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose entries `read` may be given.

    Raises:
        ValueError: no zip archive, or one with a list of entries beyond all measure.
        OSError: the file cannot be read.
    """
    with path.open("rb") as raw:
        if not zipfile.is_zipfile(raw):
            raise ValueError("it is no zip archive")
        size = _list_size(raw)
        if size > LIST:
            raise ValueError(f"its list of entries takes {size} bytes; at most {LIST} are read")
        raw.seek(0)
        with zipfile.ZipFile(raw) as archive:
            yield archive


def read(archive: zipfile.ZipFile, name: str, most: int | None = None) -> bytes:
    """The content of an entry, in memory.

    Args:
        archive: of `opened`.
        name: the entry's.
        most: bytes that it may hold; None allows `FREE`, and beyond it `RATIO` times what it takes in the archive.

    Raises:
        ValueError: an entry that would inflate to more, or is compressed or encrypted in a way that is not read.
        KeyError: no such entry.
        zipfile.BadZipFile, zlib.error, EOFError: a damaged one.
    """
    return archive.read(checked(archive, name, most))


def checked(archive: zipfile.ZipFile, name: str, most: int | None = None) -> zipfile.ZipInfo:
    """The entry of that name, which may be inflated. Raises as `read` does, before anything is."""
    entry = archive.getinfo(name)
    # Others give out all that a few kilobytes inflate to at once.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{name[:80]!r} is compressed by method {entry.compress_type}; only stored and deflated ones "
            "are read: pack it anew"
        )
    if entry.flag_bits & 1:
        raise ValueError(f"{name[:80]!r} is encrypted; pack it anew without a password")
    allowed = max(FREE_BYTES, RATIO * entry.compress_size) if most is None else most
    if entry.file_size > allowed:
        raise ValueError(
            f"{name[:80]!r} would inflate from {entry.compress_size} bytes to {entry.file_size}, and at "
            f"most {allowed} are read; if that is meant, unpack it by hand"
        )
    return entry


def _list_size(raw: IO[bytes]) -> int:
    """Bytes of the list of entries, as the end of the archive states it."""
    whole = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, whole - 70_000))
    tail = raw.read()
    at = tail.rfind(_END)
    size = int(struct.unpack_from("<L", tail, at + 12)[0]) if 0 <= at <= len(tail) - 16 else 0
    # Where the archive is a large one, the size that counts stands in a record before the end.
    if tail[max(at - 20, 0) : at].startswith(_LOCATOR) and tail[max(at - 76, 0) : at].startswith(
        _END64
    ):
        size = int(struct.unpack_from("<Q", tail, at - 76 + 40)[0])
    return size
