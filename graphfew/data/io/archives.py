"""Zip archives from unknown sources: sizes are checked before anything is inflated.

Python's `zipfile` inflates whatever an archive claims, so a file of a few kilobytes could fill the
memory. This module checks sizes first; nothing is extracted to disk.
"""

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

from graphfew.errors import DatasetError

# Everything that zipfile, zlib and numpy's NPY reader raise for damaged or hostile files.
READ_ERRORS = (
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
# The central directory of tieredImageNet and CIFAR-100 archives has a few megabytes; in memory it
# takes 13 times that.
MAX_DIRECTORY_BYTES = 64_000_000
# An entry may always inflate to FREE_BYTES, and beyond that to MAX_RATIO times its compressed size.
FREE_BYTES = 500_000_000
MAX_RATIO = 50
MAX_REASON_LENGTH = 500

# Signatures and field offsets of the zip format (APPNOTE.TXT, sections 4.3.14 to 4.3.16).
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_MAX_TAIL = 70_000  # the end record with the longest comment
_SIZE_OFFSET, _SIZE64_OFFSET = 12, 40
_LOCATOR64_LENGTH, _END64_LENGTH = 20, 56


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line of limited length."""
    return " ".join(str(error).split())[:MAX_REASON_LENGTH] or type(error).__name__


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, after a check of the size of its central directory.

    Raises:
        DatasetError: the file is not a zip archive, or its central directory is too large.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DatasetError("not a zip archive")
        # ZipFile parses the whole central directory as soon as it is opened.
        size = _directory_size(file)
        if size > MAX_DIRECTORY_BYTES:
            raise DatasetError(
                f"its list of entries takes {size} bytes; the limit is {MAX_DIRECTORY_BYTES}"
            )
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            yield archive


def read_entry(archive: zipfile.ZipFile, name: str, max_bytes: int | None = None) -> bytes:
    """Read an entry into memory.

    Args:
        archive: from `open_zip`.
        name: name of the entry.
        max_bytes: limit of the inflated size; None takes `FREE_BYTES` or `MAX_RATIO` times the
            compressed size, whichever is larger.

    Raises:
        DatasetError: the entry would inflate beyond the limit, or is encrypted or compressed by
            another method.
        KeyError: no such entry.
        zipfile.BadZipFile, zlib.error, EOFError: the entry is damaged.
    """
    return archive.read(check_entry(archive, name, max_bytes))


def check_entry(
    archive: zipfile.ZipFile, name: str, max_bytes: int | None = None
) -> zipfile.ZipInfo:
    """Check that an entry is safe to inflate; arguments and errors are those of `read_entry`."""
    entry = archive.getinfo(name)
    short_name = name[:80]
    # Python's bzip2 and LZMA readers return everything that a block inflates to at once, before a
    # size can be checked.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DatasetError(
            f"{short_name!r} is compressed by method {entry.compress_type}; only stored and "
            "deflated entries are supported: compress it again with deflate"
        )
    # Bit 0 of the flags marks an encrypted entry (APPNOTE.TXT, section 4.4.4).
    if entry.flag_bits & 1:
        raise DatasetError(f"{short_name!r} is encrypted; create the archive without a password")
    if max_bytes is None:
        max_bytes = max(FREE_BYTES, MAX_RATIO * entry.compress_size)
    # zipfile returns at most the stated size, so it is safe to trust it as a limit.
    if entry.file_size > max_bytes:
        raise DatasetError(
            f"{short_name!r} would inflate from {entry.compress_size} bytes to {entry.file_size}; "
            f"the limit is {max_bytes}: if the size is correct, extract the archive yourself"
        )
    return entry


def _directory_size(file: IO[bytes]) -> int:
    """Return the size of the central directory in bytes, as the end record states it."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - _MAX_TAIL))
    tail = file.read()
    # The last signature, as in zipfile: bytes before it may look like another one.
    end = tail.rfind(_END)
    # Cut off before the size field; ZipFile raises for such a file.
    if not 0 <= end <= len(tail) - 16:
        return 0
    # Archives in the Zip64 format state the size in a larger record, which comes before a locator
    # and the end record.
    locator = max(end - _LOCATOR64_LENGTH, 0)
    end64 = max(locator - _END64_LENGTH, 0)
    is_zip64 = tail[locator:end].startswith(_LOCATOR64) and tail[end64:locator].startswith(_END64)
    if is_zip64:
        return int(struct.unpack_from("<Q", tail, end64 + _SIZE64_OFFSET)[0])
    return int(struct.unpack_from("<L", tail, end + _SIZE_OFFSET)[0])
