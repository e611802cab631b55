"""The run folder: its files, written beside and renamed, and what is read back from them."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from graphfew._utils.atomic_io import append_text, write_text
from graphfew._utils.model_spec import JSON
from graphfew.nn.method import GraphMethod, device_of
from graphfew.runs.config import TrainConfig, checked
from graphfew.runs.fit import TrainingProgress, ValidationRecord
from graphfew.runs.state import TrainingState
from graphfew.serialization import checkpoint

# what a file of another content may lead to
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
FRACTIONS = ("best", "loss", "accuracy")
# What a session of the timing tells at least.
TIMED = ("from_step", "to_step", "device", "training_seconds", "validating_seconds")


@dataclasses.dataclass(frozen=True)
class Run:
    """The paths of a run folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """Everything needed to repeat the run."""
        return self.folder / "config.json"

    @property
    def metrics(self) -> Path:
        """One line per validation, without times: the same seed gives the same bytes."""
        return self.folder / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """The newest weights, with all that training needs in order to go on."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the best validation."""
        return self.folder / "best.safetensors"

    @property
    def timing(self) -> Path:
        """Seconds, tasks per second and device of each session."""
        return self.folder / "timing.json"


def versions() -> dict[str, JSON]:
    """The versions that a result may hang on, and the number of threads, which decides the order of sums."""
    names = ("graphfew", "torch", "numpy")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "threads": torch.get_num_threads(),
    }


def write_json(path: Path, content: JSON) -> None:
    """Write beside and rename: a reader sees the old file or the new one, whole."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def refuse_existing(run: Run) -> None:
    """Raises ValueError where the folder is there and not empty, or is a file."""
    if run.folder.is_file():
        raise ValueError(f"{run.folder} is a file; give a folder that is new or empty")
    if run.folder.is_dir() and any(run.folder.iterdir()):
        raise ValueError(
            f"{run.folder} is not empty; give another folder, or --resume to go on with the run in it"
        )


def start(run: Run, config: TrainConfig) -> None:
    """Make the folder and write its configuration. Raises ValueError where it is not empty."""
    refuse_existing(run)
    write_json(run.config, {"arguments": config.flat(), "versions": versions()})


def read_config(run: Run) -> tuple[TrainConfig, dict[str, JSON]]:
    """The configuration of a run that was started, and the versions that it was started with.

    Raises:
        FileNotFoundError: no run there.
        ValueError: a configuration that cannot be read.
    """
    if not run.config.is_file():
        raise FileNotFoundError(
            f"{run.folder} holds no run (no {run.config.name}); leave --resume out to start one"
        )
    try:
        content = json.loads(run.config.read_text(encoding="utf-8"))
        return TrainConfig.of(checked(content["arguments"])), dict(content["versions"])
    except UNREADABLE as error:
        raise ValueError(
            f"{run.config} cannot be read ({str(error)[:500]}); start a new run in another folder"
        ) from error


def append(run: Run, record: ValidationRecord) -> None:
    """Add a line to the metrics."""
    append_text(run.metrics, json.dumps(record.to_json()) + "\n")


def sessions(run: Run) -> list[Mapping[str, JSON]]:
    """The sessions of a run's timing, those that are whole; none where the file is not there or cannot be read."""
    try:
        found = json.loads(run.timing.read_text(encoding="utf-8"))["sessions"]
        return [session for session in found if all(name in session for name in TIMED)]
    except (OSError, *UNREADABLE):
        return []


def save_best(run: Run, model: GraphMethod, config: TrainConfig, step: int) -> None:
    """Write the best model, which its provenance says how it was chosen."""
    chosen: dict[str, JSON] = {
        "selected_on": f"{config.data}/{config.validate}",
        "step_selected": step,
    }
    _save(model, run.best, chosen)


def save_last(run: Run, job: TrainingState, tally: TrainingProgress) -> None:
    """Write the newest model with the optimizer and the tally."""
    _save(
        job.model,
        run.last,
        {"selected_on": None, "step_selected": tally.step},
        optimizer=job.optimizer,
        extra=dataclasses.asdict(tally),
        learner=job.apart,
    )


def restore(run: Run, job: TrainingState, *, write: bool = True) -> TrainingProgress:
    """Fill model and optimizer from `last`, and cut the metrics back to it unless `write` is false; a fresh tally where
    there is no `last`.

    Raises:
        ValueError: `last` is corrupt, or of another model.
    """
    tally = TrainingProgress()
    if run.last.is_file():
        extra = checkpoint.read_extra(run.last)
        checkpoint.load(
            run.last,
            into=job.model,
            optimizer=job.optimizer,
            device=device_of(job.model),
            learner=job.apart,
        )
        tally = tally_of(run, extra)
    if write:
        cut_back(run, tally.validated)
    return tally


def cut_back(run: Run, step: int) -> None:
    """Drop the metrics' lines after a step, and one cut short. Raises ValueError for a line that is no JSON."""
    if not run.metrics.is_file():
        return
    try:
        text = run.metrics.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in lines if json.loads(line)["step"] <= step]
    except UNREADABLE as error:
        raise ValueError(
            f"{run.metrics} cannot be read ({str(error)[:500]}); start a new run in another folder"
        ) from error
    write_text(run.metrics, "".join(kept))


def tally_of(run: Run, extra: Mapping[str, Any]) -> TrainingProgress:
    """How far a run is, as `last` has it. Raises ValueError for values of another kind."""
    try:
        tally = TrainingProgress(**extra)
        odd = [
            name
            for name, value in dataclasses.asdict(tally).items()
            if type(value) is not int and (name not in FRACTIONS or type(value) is not float)
        ]
        if odd:
            raise TypeError(f"{odd[0]} is no number")
        return tally
    except TypeError as error:
        raise ValueError(
            f"{run.last} is no checkpoint of a run ({error}); put the run's own one back"
        ) from error


def _save(model: GraphMethod, path: Path, chosen: Mapping[str, JSON], **options: Any) -> None:
    training = model.provenance
    model.provenance = {**training, **chosen}
    try:
        checkpoint.save(model, path, **options)
    finally:
        model.provenance = training
