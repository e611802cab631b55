"""`graphfew train --logger`."""

import json
import types

import pytest
from small_training import SMALL_EGNN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from graphfew.cli import app
from graphfew.loggers.opening import LOGGERS
from graphfew.runs import runner

TRAIN = [*SMALL_EGNN, *("--steps", "6", "--validate-every", "2")]
LOG = ["--logger", "tensorboard", "--log-every", "1"]

pytestmark = pytest.mark.usefixtures("one_thread", "unchecked")


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def scalars(out):
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def failing_logger(at_step):
    """A logger whose connection is lost at a step."""

    def log(values, step):
        if step >= at_step:
            raise ConnectionError("connection lost")

    return lambda request: types.SimpleNamespace(run_id="1", log=log, close=lambda succeeded: None)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    out = tmp_path_factory.mktemp("complete") / "run"
    result = call(*TRAIN, *LOG, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def test_validations_are_those_of_the_metrics(complete):
    lines = [json.loads(line) for line in (complete / "metrics.jsonl").read_text().splitlines()]
    found = scalars(complete)
    for name, field in (
        ("validation/accuracy", "validation_accuracy"),
        ("train/mean_loss", "loss"),
    ):
        expected = [(line["step"], pytest.approx(line[field], rel=1e-6)) for line in lines]
        assert found[name] == expected
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in found["train/learning_rate"]] == [pytest.approx(1e-3)] * 6


def test_interrupted_run_continues_in_the_same_run(complete, tmp_path, monkeypatch):
    out = tmp_path / "run"
    # The last checkpoint has step 2, and step 3 was logged.
    save = runner._save_event

    def fail_at_step_4(prepared, event):
        if event.progress.step == 4:
            raise OSError("disk full")
        save(prepared, event)

    monkeypatch.setattr(runner, "_save_event", fail_at_step_4)
    assert call(*TRAIN, *LOG, "--out", out).exit_code == 2
    monkeypatch.undo()
    result = call("train", "--resume", "--log-every", "1", "--out", out)
    assert result.exit_code == 0, result.output
    assert len(list((out / "tensorboard").iterdir())) == 2
    assert scalars(out) == scalars(complete)


def test_failing_logger_does_not_end_the_training(complete, tmp_path, monkeypatch):
    monkeypatch.setitem(LOGGERS, "tensorboard", failing_logger(at_step=3))
    result = call(*TRAIN, *LOG, "--out", tmp_path / "run")
    assert result.exit_code == 0
    assert result.stderr.count("connection lost") == 1
    assert "tensorboard failed at step 3" in result.stderr
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert metrics == (complete / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--logger", "tensorbord"], "unknown logger 'tensorbord'"),
        (["--logger", "tensorboard", "--logger", "x"], "unknown logger 'x'"),
        (["--log-every", "0"], "log_every is 0"),
    ],
)
def test_invalid_options_are_errors_before_any_work(options, message, tmp_path):
    result = call(*TRAIN, *options, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
