"""Loggers: what they record, how a run is continued, and their errors."""

import importlib.machinery
import importlib.util
import json
import sys
import types

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import graphfew as gf
from graphfew.loggers import RunRequest, open_logger
from graphfew.loggers.opening import LOGGERS
from graphfew.runs import TrainingEvent, TrainingProgress, ValidationRecord, log_events


def scalars(folder):
    """Step and value of each scalar in event files, as TensorBoard shows them."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        name: [(event.step, round(event.value, 4)) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


class FakeWandbRun:
    def __init__(self, arguments):
        self.arguments = arguments
        self.id = arguments["id"] or "run-1"
        self.metrics = {}
        self.values = []
        self.exit_code = None

    def define_metric(self, name, **options):
        self.metrics[name] = options

    def log(self, values):
        self.values.append(values)

    def finish(self, exit_code):
        self.exit_code = exit_code


class FakeMlflowClient:
    """A client that records its calls."""

    def __init__(self, calls):
        self.calls = calls

    def get_experiment_by_name(self, name):
        self.calls.append(("find", name))

    def create_experiment(self, name):
        return name

    def create_run(self, experiment_id, run_name):
        self.calls.append(("create", experiment_id, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))

    def update_run(self, run_id, status):
        self.calls.append(("update", run_id, status))

    def log_batch(self, run_id, metrics=(), params=()):
        self.calls.append(("batch", run_id, list(metrics), list(params)))

    def set_terminated(self, run_id, status):
        self.calls.append(("end", run_id, status))


@pytest.fixture
def install(monkeypatch):
    """Install a stand-in of a package."""

    def add(name, **members):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)

    return add


@pytest.fixture
def wandb_runs(install, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    runs = []

    def init(**arguments):
        runs.append(FakeWandbRun(arguments))
        return runs[-1]

    install("wandb", init=init)
    return runs


@pytest.fixture
def mlflow_calls(install, monkeypatch):
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    calls = []
    entities = types.SimpleNamespace(
        Metric=lambda name, value, time, step: (name, value, step),
        Param=lambda name, value: (name, value),
    )
    install("mlflow", MlflowClient=lambda: FakeMlflowClient(calls), entities=entities)
    return calls


def test_tensorboard_has_scalars_and_configuration(tmp_path):
    with open_logger("tensorboard", tmp_path, config={"way": 5}) as log:
        log({"train/loss": 1.5, "train/accuracy": 0.5}, 1)
        log({"train/loss": 1.25}, 2)
    assert scalars(tmp_path) == {
        "train/loss": [(1, 1.5), (2, 1.25)],
        "train/accuracy": [(1, 0.5)],
    }
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert b'"way": 5' in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    assert json.loads((tmp_path / "loggers.json").read_text()) == {"tensorboard": "tensorboard"}


def test_resumed_tensorboard_run_replaces_later_steps(tmp_path):
    with open_logger("tensorboard", tmp_path) as log:
        for step in (1, 2, 3, 4):
            log({"loss": float(step)}, step)
    with open_logger("tensorboard", tmp_path, resume=True, start=2) as log:
        log({"loss": 30.0}, 3)
    assert scalars(tmp_path) == {"loss": [(1, 1.0), (2, 2.0), (3, 30.0)]}


def test_wandb_run_is_continued_by_its_identifier(tmp_path, wandb_runs):
    folder = tmp_path / "egnn"
    with open_logger("wandb", folder, config={"way": 5}) as log:
        log({"loss": 1.5}, 7)
    with (
        pytest.raises(KeyboardInterrupt),
        open_logger("wandb", folder, resume=True),
    ):
        raise KeyboardInterrupt
    first, second = wandb_runs
    assert first.arguments["config"] == {"way": 5}
    assert (first.arguments["project"], first.arguments["name"]) == ("graphfew", "egnn")
    assert (first.arguments["id"], first.arguments["resume"]) == (None, None)
    assert (second.arguments["id"], second.arguments["resume"]) == ("run-1", "allow")
    assert first.metrics["*"] == {"step_metric": "step"}
    assert first.values == [{"loss": 1.5, "step": 7}]
    assert (first.exit_code, second.exit_code) == (0, 1)


def test_a_new_run_has_a_new_identifier(tmp_path, wandb_runs):
    for _ in range(2):
        with open_logger("wandb", tmp_path) as log:
            log({"loss": 1.5}, 1)
    assert [run.arguments["id"] for run in wandb_runs] == [None, None]


def test_mlflow_run_is_continued_by_its_identifier(tmp_path, mlflow_calls):
    config = {f"option{i}": i for i in range(150)}
    with open_logger("mlflow", tmp_path / "egnn", config=config) as log:
        log({"loss": 1.5}, 7)
    with (
        pytest.raises(ZeroDivisionError),
        open_logger("mlflow", tmp_path / "egnn", config=config, resume=True),
    ):
        raise ZeroDivisionError
    kinds = [call[0] for call in mlflow_calls]
    # MLflow takes at most 100 parameters at once.
    assert kinds == ["find", "create", "batch", "batch", "batch", "end", "update", "end"]
    assert mlflow_calls[1] == ("create", "graphfew", "egnn")
    assert [len(call[3]) for call in mlflow_calls[2:4]] == [100, 50]
    assert mlflow_calls[4] == ("batch", "abc", [("loss", 1.5, 7)], [])
    assert mlflow_calls[5:] == [
        ("end", "abc", "FINISHED"),
        ("update", "abc", "RUNNING"),
        ("end", "abc", "FAILED"),
    ]


def test_unknown_logger():
    with (
        pytest.raises(gf.errors.ConfigurationError, match="tensorboard, wandb, mlflow"),
        open_logger("tensorbord", "run"),
    ):
        pass


@pytest.mark.parametrize("name", LOGGERS)
def test_missing_package_names_the_command(name, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(gf.errors.MissingDependencyError, match=rf"pip install .graphfew\[{name}\]"),
        open_logger(name, tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_logger_that_cannot_open(tmp_path, install):
    def init(**arguments):
        raise RuntimeError("no API key\nconfigured")

    install("wandb", init=init)
    with (
        pytest.raises(gf.errors.ConfigurationError, match=r"wandb cannot .* \(no API key config"),
        open_logger("wandb", tmp_path),
    ):
        pass
    assert not (tmp_path / "loggers.json").exists()


def test_logger_that_cannot_close_is_a_warning(tmp_path, wandb_runs, monkeypatch):
    def finish(self, exit_code):
        raise ConnectionError("gone")

    monkeypatch.setattr(FakeWandbRun, "finish", finish)
    with (
        pytest.warns(RuntimeWarning, match="wandb could not end the run .gone"),
        open_logger("wandb", tmp_path) as log,
    ):
        log({"loss": 1.0}, 1)


@pytest.mark.parametrize("content", ["[1]", "{", '{"wandb": 3}'])
def test_damaged_identifiers(content, tmp_path):
    (tmp_path / "loggers.json").write_text(content)
    with (
        pytest.raises(gf.errors.ConfigurationError, match=r"loggers\.json cannot be read"),
        open_logger("tensorboard", tmp_path, resume=True),
    ):
        pass


def test_name_of_the_run_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunRequest(tmp_path.relative_to(tmp_path)).name == tmp_path.name


def test_events_are_logged_with_their_step():
    logged = []
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.25)
    on_event = log_events(
        lambda values, step: logged.append((step, dict(values))), optimizer, every=2
    )
    for step in (1, 2):
        on_event(TrainingEvent(TrainingProgress(step=step), gf.TrainStep(step - 1, 1.5, 0.5)))
    record = ValidationRecord(3, 1.0, 0.75, 0.5, 0.125)
    on_event(TrainingEvent(TrainingProgress(step=3), record=record))
    untrained = ValidationRecord(0, None, None, 0.5, 0.125)
    on_event(TrainingEvent(TrainingProgress(), record=untrained))
    assert logged == [
        (2, {"train/loss": 1.5, "train/accuracy": 0.5, "train/learning_rate": 0.25}),
        (
            3,
            {
                "validation/accuracy": 0.5,
                "validation/half_width": 0.125,
                "train/mean_loss": 1.0,
                "train/mean_accuracy": 0.75,
            },
        ),
        (0, {"validation/accuracy": 0.5, "validation/half_width": 0.125}),
    ]


def test_interval_below_one_raises():
    with pytest.raises(gf.errors.InvalidInputError, match="every is 0"):
        log_events(print, every=0)
