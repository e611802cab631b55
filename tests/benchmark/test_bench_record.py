"""Records of benchmarks: one line each, with a warning for each that cannot be read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from graphfew.benchmark import BenchmarkRecord, append_record, read_records
from graphfew.benchmark.format_1 import from_format_1, to_format_1
from graphfew.evaluation import EvaluationMode, Result


def made(row: str = "prototypical", **changes: object) -> BenchmarkRecord:
    result = Result(
        0.75,
        0.1,
        (0.5, 1.0, 0.75),
        EvaluationMode(transductive=False),
        {"way": 5},
        {"method": "prototypical"},
        "cpu",
        0.1,
    )
    record = BenchmarkRecord(
        "glyphs",
        row,
        0,
        "nothing",
        "k1",
        "h",
        "abc+",
        {"torch": "2"},
        "a processor",
        result,
        75,
        0.5,
        ({"method": "prototypical", "seconds": 3.0},),
        10**9,
        "graphfew bench",
        "2026-11-21T00:00:00Z",
        {"auroc": 0.9},
    )
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "glyphs.jsonl"
    written = (made(), made("egnn", seed=None, training=(), peak_memory=None))
    for record in written:
        append_record(path, record)
    assert read_records(path) == (written, ())
    assert written[0].tasks_per_second == 6


def test_no_file_has_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl") == ((), ())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"format": 1, "row": "cut sho', "Unterminated"),
        ("[1, 2]", "got a list"),
        ('{"format": 99}', "format is 99"),
        ('{"format": 1, "row": "x"}', "not a benchmark record"),
        (json.dumps({**json.loads(made().to_line()), "color": "red"}), "color"),
        (json.dumps({**json.loads(made().to_line()), "key": 3}), "key"),
    ],
)
def test_a_corrupt_line_is_told_and_the_rest_is_read(
    tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "glyphs.jsonl"
    append_record(path, made("first"))
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    append_record(path, made("last"))
    records, faults = read_records(path)
    assert [record.row for record in records] == ["first", "last"]
    assert [fault.line for fault in faults] == [2]
    assert reason in faults[0].reason
    assert str(path) in str(faults[0])
    assert "line 2" in str(faults[0])


def test_a_line_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "glyphs.jsonl"
    append_record(path, made("first"))
    path.write_bytes(path.read_bytes() + b'{"format": 1, "ro')
    append_record(path, made("last"))
    records, faults = read_records(path)
    assert [record.row for record in records] == ["first", "last"]
    assert [fault.line for fault in faults] == [2]


def test_bytes_that_are_no_text_are_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "glyphs.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    records, faults = read_records(path)
    assert not records
    assert [fault.line for fault in faults] == [1]


def test_settings_of_format_1_have_their_current_names():
    old = {"unlabelled": 3, "pile_classes": 150}
    assert from_format_1(old) == {"unlabeled": 3, "unlabeled_classes": 150}
    assert to_format_1(from_format_1(old)) == old
