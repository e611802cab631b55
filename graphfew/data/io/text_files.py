"""Text files from anywhere: compressed, and in the encodings of spreadsheets."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from graphfew.data.io import archives
from graphfew.errors import DatasetError, InvalidInputError

CHUNK_BYTES = 1 << 20
# Longer marks first: that of UTF-32 starts with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What spreadsheets write in western Europe unless they are asked for UTF-8.
_SPREADSHEET_ENCODING = "cp1252"


class _BoundedReader(io.RawIOBase):
    """A decompressed stream that ends with an error beyond a number of bytes."""

    def __init__(self, stream: gzip.GzipFile, max_bytes: int) -> None:
        self._stream, self._remaining = stream, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._stream.read(len(buffer))
        self._remaining -= len(content)
        if self._remaining < 0:
            raise DatasetError("it would inflate beyond the limit; decompress it yourself")
        buffer[: len(content)] = content
        return len(content)


def find_encoding(path: Path, encoding: str | None = None) -> tuple[str, str | None]:
    """Find the encoding of a text file.

    It is that of the byte-order mark, UTF-16 if every second byte is zero, UTF-8 if the file is
    valid UTF-8, and otherwise Windows-1252.

    Args:
        path: the file, which may be compressed by gzip.
        encoding: the encoding if it is known.

    Returns:
        The encoding, and what was assumed; None if there is no doubt.

    Raises:
        InvalidInputError: no such encoding.
        DatasetError: the file is not text, or is damaged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "items.csv")
        >>> _ = path.write_bytes("a;b".encode("utf-16"))
        >>> find_encoding(path)
        ('utf-16', None)
    """
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise InvalidInputError(
                f"unknown encoding {encoding!r}; give one of Python's, such as utf-8, utf-16 or cp1252"
            ) from None
        return encoding, None
    with open_bytes(path) as file:
        start = file.read(CHUNK_BYTES)
        for mark, name in _BYTE_ORDER_MARKS:
            if start.startswith(mark):
                return name, None
        wide = _wide_encoding(start)
        if wide is not None:
            return wide, f"the encoding is {wide.upper()} (--encoding)"
        if b"\0" in start:
            raise DatasetError(f"{path} is not text: it contains null bytes; give a text file")
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            chunk = start
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(CHUNK_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return _SPREADSHEET_ENCODING, "the encoding is Windows-1252, not UTF-8 (--encoding)"
    return "utf-8", None


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, decompressed if its name ends in .gz; damage raises a DatasetError."""
    with path.open("rb") as file:
        if path.suffix.lower() != ".gz":
            yield file
            return
        max_bytes = max(archives.FREE_BYTES, archives.MAX_RATIO * path.stat().st_size)
        try:
            with gzip.open(file) as inflated:
                yield io.BufferedReader(_BoundedReader(inflated, max_bytes), CHUNK_BYTES)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DatasetError(
                f"{path} is not a gzip file, or is damaged ({archives.one_line(error)}); compress "
                "it again"
            ) from error


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a text file for reading, with line ends unchanged.

    Raises:
        DatasetError: the file is not text in this encoding.
    """
    with open_bytes(path) as file:
        try:
            # csv needs newline="" for line breaks inside cells.
            with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
                yield text
        except UnicodeError as error:
            reason = getattr(error, "reason", None) or archives.one_line(error)
            raise DatasetError(
                f"{path} is not text in {encoding.upper()} ({reason}); save it in UTF-8, or give "
                "its --encoding"
            ) from error


def _wide_encoding(start: bytes) -> str | None:
    """UTF-16 without a byte-order mark: most letters have a zero byte."""
    even, odd = start[:2000:2], start[1:2000:2]
    if len(odd) > 1 and odd.count(0) > 0.5 * len(odd) and not even.count(0):
        return "utf-16-le"
    if len(odd) > 1 and even.count(0) > 0.5 * len(even) and not odd.count(0):
        return "utf-16-be"
    return None
