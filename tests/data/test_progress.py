"""Progress of decoding and encoding on standard error."""

import pytest

from graphfew.data.io import progress
from graphfew.data.io.progress import progress_counter, with_progress


@pytest.mark.parametrize("show", [True, False])
def test_short_work_leaves_logs_empty(capsys, show):
    assert list(with_progress(range(5), "decoding", 5, show)) == [0, 1, 2, 3, 4]
    with progress_counter("encoding", 3, show) as set_completed:
        set_completed(3)
    assert capsys.readouterr() == ("", "")


def test_long_work_prints_lines_in_logs(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    assert list(with_progress("ab", "decoding", 2000, True)) == ["a", "b"]
    assert capsys.readouterr().err == "decoding: 1 of 2,000\ndecoding: 2 of 2,000\n"


def test_no_lines_without_progress(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    list(with_progress("ab", "decoding", 2, False))
    assert capsys.readouterr().err == ""


def test_terminals_show_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    list(with_progress("ab", "decoding", 2, True))
    assert "decoding" in capsys.readouterr().err
