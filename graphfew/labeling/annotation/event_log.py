"""The log of an annotation: a file of JSON lines that is only appended to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from graphfew._utils.atomic_io import errors_naming_path
from graphfew._utils.data_warning import warn_data
from graphfew.errors import ConfigurationError, DatasetError
from graphfew.labeling.annotation.actions import Action, LogEntry, format_entry, parse_entry

FORMAT = "graphfew annotation 1"
# What every log starts with.
START = b'{"format": "graphfew'


@dataclasses.dataclass(frozen=True)
class LogHeader:
    """The first line of a log: which items it is about.

    Attributes:
        source: the path of the source, as information.
        n_items: number of items.
        digest: hash of their keys.
    """

    source: str
    n_items: int
    digest: str


def describe_items(source: str, keys: Sequence[str]) -> LogHeader:
    """Describe the items of a source.

    Args:
        source: path of the source.
        keys: keys of the items.

    Returns:
        The header of a log about them.

    Example:
        >>> describe_items("photos", ["1.png", "2.png"]).n_items
        2
    """
    # Sorted, because another order changes nothing. The separator cannot occur in a path, and a
    # key with it would only change the digest.
    digest = hashlib.sha256("\0".join(sorted(keys)).encode("utf-8", "surrogatepass")).hexdigest()
    return LogHeader(source, len(keys), digest[:16])


class EventLog:
    """An open log: earlier entries, and a method that appends one.

    Only one process can have a log open. `append` returns after the entry is on disk. If the
    process was killed while it wrote, the incomplete last line is removed.

    Args:
        path: the file; it is created if it does not exist.
        header: describes the items. A log about other items is continued with a warning, because
            entries name their items.

    Raises:
        ConfigurationError: another process has the log open.
        DatasetError: the file is not a log, or a line other than the last is damaged.
        WriteError: the file cannot be written.

    Attributes:
        entries: the entries of earlier sessions.

    Example:
        >>> import tempfile
        >>> from graphfew.labeling.annotation.actions import SkipItem
        >>> path, header = Path(tempfile.mkdtemp(), "log.jsonl"), describe_items("photos", ["a"])
        >>> with EventLog(path, header) as log:
        ...     _ = log.append("me", SkipItem("a"))
        >>> with EventLog(path, header) as log:
        ...     log.entries[0].action
        SkipItem(item='a')
    """

    def __init__(self, path: Path, header: LogHeader) -> None:
        self.path = path
        with errors_naming_path(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        try:
            _lock(self._file, path)
            self.entries = self._read(header)
        except BaseException:
            self._file.close()
            raise
        self._last_number = self.entries[-1].number if self.entries else 0

    def append(self, annotator: str, action: Action) -> LogEntry:
        """Append an entry and wait until it is on disk.

        Args:
            annotator: id of the page that sent it.
            action: what was done.

        Returns:
            The entry.

        Raises:
            WriteError: the entry cannot be written; the file is unchanged.
        """
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = LogEntry(self._last_number + 1, now, annotator, action)
        self._write(format_entry(entry))
        self._last_number = entry.number
        return entry

    def close(self) -> None:
        """Close the file, which lets other processes open the log."""
        self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        content = line.encode("utf-8", "surrogatepass") + b"\n"
        size = self._file.seek(0, os.SEEK_END)
        with errors_naming_path(self.path):
            try:
                # One write, which a full disk may cut short.
                if self._file.write(content) != len(content):
                    raise OSError(28, "No space left on device")
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(size)
                raise

    def _finish_last_line(self, content: bytes) -> bytes:
        """Return the content with whole lines: a last line that is not ended is ended or removed."""
        earlier, _, last = content.rpartition(b"\n")
        if not last:
            return content
        if not earlier and not last.startswith(START) and not START.startswith(last):
            raise DatasetError(_not_a_log(self.path))
        if _is_json(last):
            # An editor may remove the last line end, and a write may be cut just before it.
            self._write("")
            return content + b"\n"
        warn_data([f"{self.path}: the incomplete last line was removed"])
        self._file.truncate(len(content) - len(last))
        return content[: len(content) - len(last)]

    def _read(self, header: LogHeader) -> tuple[LogEntry, ...]:
        self._file.seek(0)
        complete, _, _ = self._finish_last_line(self._file.readall()).rpartition(b"\n")
        if not complete:
            self._write(json.dumps({"format": FORMAT, **dataclasses.asdict(header)}))
            with errors_naming_path(self.path):
                _sync_folder(self.path.parent)
            return ()
        first, *lines = complete.split(b"\n")
        _check_header(self.path, first, header)
        entries: list[LogEntry] = []
        for line_number, line in enumerate(lines, 2):
            try:
                entry = parse_entry(line.decode("utf-8", "surrogatepass"))
                if entries and entry.number <= entries[-1].number:
                    raise DatasetError(f"its number, {entry.number}, does not increase")
            except (DatasetError, UnicodeDecodeError) as error:
                raise DatasetError(
                    f"{self.path}, line {line_number} is damaged: {error}; repair or remove the line"
                ) from error
            entries.append(entry)
        return tuple(entries)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _not_a_log(path: Path) -> str:
    return f"{path} is not a log of graphfew annotate; give another --log"


def _check_header(path: Path, line: bytes, header: LogHeader) -> None:
    try:
        content = json.loads(line)
        is_log = content["format"] == FORMAT
        found = LogHeader(content["source"], content["n_items"], content["digest"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError(_not_a_log(path)) from error
    if not is_log:
        raise DatasetError(_not_a_log(path))
    if found.digest != header.digest:
        warn_data(
            [
                f"{path} was started with {found.n_items} items of {found.source}, and there are "
                f"{header.n_items} items now, not the same ones; labels of missing items are ignored"
            ]
        )


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows has other locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            f"{path} is open in another process; use its page, stop it, or give another --log"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Write a new file's name to disk, without which a crash of the machine loses the file."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
