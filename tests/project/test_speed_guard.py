"""The speed guard fails if a speedup has halved, and only then."""

import json

import pytest

from benchmarks.speed import guard


@pytest.fixture
def recorded():
    return json.loads(guard.RECORDED.read_text())["times_as_fast_as_naive"]


def run(monkeypatch, ratios):
    monkeypatch.setattr(guard, "ratios", lambda: ratios)
    monkeypatch.setattr("sys.argv", ["guard"])
    guard.main()


def test_recorded_speedups_pass(recorded, monkeypatch, capsys):
    run(monkeypatch, {name: 0.51 * ratio for name, ratio in recorded.items()})
    shown = capsys.readouterr().out
    assert all(name in shown for name in recorded)
    assert "lost" not in shown


def test_halved_speedup_fails_with_its_name(recorded, monkeypatch):
    first, *rest = recorded
    with pytest.raises(SystemExit, match=f"less than half of the recorded speedup: {first}$"):
        run(monkeypatch, {first: 0.49 * recorded[first], **{name: recorded[name] for name in rest}})
