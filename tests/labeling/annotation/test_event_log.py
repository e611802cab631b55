"""The log of an annotation on disk."""

import json
import os
import warnings
from pathlib import Path

import pytest

from graphfew.data import DataWarning
from graphfew.errors import ConfigurationError, DatasetError, WriteError
from graphfew.labeling.annotation.actions import (
    AddClass,
    LabelItems,
    LogEntry,
    MergeClass,
    RejectItem,
    RenameClass,
    SkipItem,
    Undo,
    format_entry,
    parse_entry,
)
from graphfew.labeling.annotation.event_log import EventLog, describe_items

HEADER = describe_items("items.csv", ["a", "b"])
ACTIONS = (
    LabelItems(("a", "é\n\u2028"), 'with "quotes"', 3, ("c",), True),
    RejectItem("a", 1),
    SkipItem("b"),
    AddClass("\ud800"),
    RenameClass("x", "y"),
    MergeClass("x", "y"),
    Undo(1),
)


def write_entries(path: Path, n: int) -> None:
    with EventLog(path, HEADER) as log:
        for index in range(n):
            log.append("me", LabelItems(("a",), f"class {index}"))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_entry_has_one_line_and_is_parsed_back(action):
    entry = LogEntry(4, "2026-01-01T00:00:00Z", "ab", action)
    line = format_entry(entry)
    assert "\n" not in line
    assert parse_entry(line) == entry


def test_all_actions_survive_the_file(tmp_path):
    with EventLog(tmp_path / "log", HEADER) as log:
        entries = [log.append("me", action) for action in ACTIONS]
    with EventLog(tmp_path / "log", HEADER) as log:
        assert list(log.entries) == entries
        assert log.append("me", Undo(2)).number == len(ACTIONS) + 1


def test_entry_is_on_disk_before_append_returns(tmp_path, monkeypatch):
    path = tmp_path / "log"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.read_bytes()))
    with EventLog(path, HEADER) as log:
        log.append("me", SkipItem("a"))
        assert synced[-1] == path.read_bytes()
        assert synced[-1].count(b"\n") == 2


@pytest.mark.parametrize("n_lost", [2, 5, 30])
def test_incomplete_last_line_is_removed(tmp_path, n_lost):
    path = tmp_path / "log"
    write_entries(path, 3)
    path.write_bytes(path.read_bytes()[:-n_lost])
    with pytest.warns(DataWarning, match="incomplete last line"):
        log = EventLog(path, HEADER)
    with log:
        assert [entry.number for entry in log.entries] == [1, 2]
        log.append("me", SkipItem("b"))
    with EventLog(path, HEADER) as log:
        assert [entry.number for entry in log.entries] == [1, 2, 3]


@pytest.mark.parametrize("n_entries", [0, 3])
def test_complete_last_line_without_line_end_is_kept(tmp_path, n_entries):
    path = tmp_path / "log"
    write_entries(path, n_entries)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with EventLog(path, HEADER) as log:
        assert [entry.number for entry in log.entries] == list(range(1, n_entries + 1))
        assert path.read_bytes() == content


@pytest.mark.parametrize("n_left", [1, 15, 40])
def test_incomplete_first_line_starts_a_new_log(tmp_path, n_left):
    path = tmp_path / "log"
    write_entries(path, 0)
    path.write_bytes(path.read_bytes()[:n_left])
    with pytest.warns(DataWarning, match="incomplete"):
        log = EventLog(path, HEADER)
    assert log.entries == ()
    log.close()


def replace_line(path: Path, index: int, line: str) -> None:
    lines = path.read_text().split("\n")
    lines[index] = line
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "3",
        "[" * 5000,
        '{"action": "fly"}',
        '{"number": "1", "time": "", "annotator": "", "action": "skip", "item": "a"}',
        '{"number": 9, "time": "", "annotator": "", "action": "skip", "item": 3}',
        '{"number": 9, "time": "", "annotator": "", "action": "undo", "target": true}',
        '{"number": 0, "time": "", "annotator": "", "action": "skip", "item": "a"}',
    ],
)
def test_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "log"
    write_entries(path, 3)
    replace_line(path, 2, line)
    before = path.read_bytes()
    with pytest.raises(DatasetError, match=r"line 3 is damaged: it"):
        EventLog(path, HEADER)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["item,label\na,b\n", "text", '{"format": "other"}\n', "[1]\n"])
def test_other_file_is_rejected_and_unchanged(tmp_path, content):
    path = tmp_path / "log"
    path.write_text(content)
    with pytest.raises(DatasetError, match="is not a log of graphfew annotate"):
        EventLog(path, HEADER)
    assert path.read_text() == content


def test_log_is_open_once(tmp_path):
    with (
        EventLog(tmp_path / "log", HEADER),
        pytest.raises(ConfigurationError, match="is open in another process"),
    ):
        EventLog(tmp_path / "log", HEADER)
    EventLog(tmp_path / "log", HEADER).close()


def test_log_of_other_items_is_continued_with_a_warning(tmp_path):
    write_entries(tmp_path / "log", 1)
    other = describe_items("items.csv", ["a", "c", "d"])
    with pytest.warns(DataWarning, match=r"2 items .* 3 items"):
        log = EventLog(tmp_path / "log", other)
    assert len(log.entries) == 1
    log.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EventLog(tmp_path / "log", HEADER).close()


def test_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "log"
    with EventLog(path, HEADER) as log:
        log.append("me", SkipItem("a"))
        before = path.read_bytes()

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(WriteError, match="No space left"):
            log.append("me", SkipItem("b"))
        assert path.read_bytes() == before
        monkeypatch.undo()
        assert log.append("me", SkipItem("b")).number == 2


def test_missing_folder_is_created_and_a_file_as_folder_is_an_error(tmp_path):
    EventLog(tmp_path / "new" / "log", HEADER).close()
    assert json.loads((tmp_path / "new" / "log").read_text())["n_items"] == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        EventLog(tmp_path / "file" / "log", HEADER)
