"""`RunDir`: the files of a training run, how they are written and how they are read back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphfew._utils.atomic_io import append_text, write_text
from graphfew._utils.model_spec import JSON
from graphfew.data.sources import FeedbackSource
from graphfew.errors import CheckpointError, ConfigurationError, InvalidInputError, MissingFileError
from graphfew.nn.method import GraphMethod, device_of
from graphfew.runs.config import TrainConfig
from graphfew.runs.environment import versions
from graphfew.runs.fit import TrainingProgress, ValidationRecord
from graphfew.runs.option_catalog import read_options
from graphfew.runs.state import TrainingState
from graphfew.serialization import checkpoint

# What parsing a file with unexpected content may raise.
PARSE_ERRORS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
# Key of the state of training tasks that have one, next to the fields of the progress.
SOURCE_STATE = "task_source"
FLOAT_FIELDS = ("best", "loss", "accuracy")
SESSION_FIELDS = ("from_step", "to_step", "device", "training_seconds", "validating_seconds")


@dataclasses.dataclass(frozen=True)
class RunDir:
    """The paths of a run folder.

    Attributes:
        folder: the folder.

    Example:
        >>> from graphfew.runs import RunDir
        >>> RunDir(Path("runs/egnn")).best.name
        'best.safetensors'
    """

    folder: Path

    @property
    def config(self) -> Path:
        """Everything needed to repeat the run."""
        return self.folder / "config.json"

    @property
    def metrics(self) -> Path:
        """One line per validation, without times: the same seed yields the same bytes."""
        return self.folder / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """The newest weights, with everything that training needs to continue."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the best validation."""
        return self.folder / "best.safetensors"

    @property
    def timing(self) -> Path:
        """Seconds, tasks per second and device of each session."""
        return self.folder / "timing.json"


def write_json(path: Path, content: JSON) -> None:
    """Write a JSON file atomically: readers see the old file or the new one.

    Args:
        path: the file.
        content: JSON values.
    """
    write_text(path, json.dumps(content, indent=1) + "\n")


def check_new(run: RunDir) -> None:
    """Raise InvalidInputError if the folder is not empty, or is a file."""
    if run.folder.is_file():
        raise InvalidInputError(f"{run.folder} is a file; give a folder that is new or empty")
    if run.folder.is_dir() and any(run.folder.iterdir()):
        raise InvalidInputError(
            f"{run.folder} is not empty; give another folder, or --resume to continue the run in it"
        )


def create(run: RunDir, config: TrainConfig) -> None:
    """Create the folder and save its configuration. Raises as `check_new` does."""
    check_new(run)
    write_json(run.config, {"arguments": config.to_options(), "versions": versions()})


def read_config(run: RunDir) -> tuple[TrainConfig, dict[str, JSON]]:
    """Read the configuration of a run.

    Args:
        run: the run folder.

    Returns:
        The configuration, and the versions that the run was started with.

    Raises:
        MissingFileError: if the folder has no run.
        ConfigurationError: if the configuration cannot be read.
    """
    if not run.config.is_file():
        raise MissingFileError(
            f"{run.folder} holds no run (no {run.config.name}); omit --resume to start one"
        )
    try:
        content = json.loads(run.config.read_text(encoding="utf-8"))
        config = TrainConfig.from_options(read_options(content["arguments"]))
        return config, dict(content["versions"])
    except PARSE_ERRORS as error:
        raise ConfigurationError(
            f"{run.config} cannot be read ({str(error)[:500]}); start a new run in another folder"
        ) from error


def append_metrics(run: RunDir, record: ValidationRecord) -> None:
    """Append a line to the metrics."""
    append_text(run.metrics, json.dumps(record.to_json()) + "\n")


def read_sessions(run: RunDir) -> list[Mapping[str, JSON]]:
    """Read the complete sessions of a run's timing; empty if the file is missing or damaged."""
    # Timing is informative only: a damaged file must not prevent resuming.
    try:
        sessions = json.loads(run.timing.read_text(encoding="utf-8"))["sessions"]
        return [session for session in sessions if all(name in session for name in SESSION_FIELDS)]
    except (OSError, *PARSE_ERRORS):
        return []


def save_best(run: RunDir, model: GraphMethod, config: TrainConfig, step: int) -> None:
    """Save the best model, with the split and the step of its selection in its provenance."""
    selection: dict[str, JSON] = {
        "selected_on": f"{config.data}/{config.validate}",
        "step_selected": step,
    }
    _save(model, run.best, selection)


def save_last(run: RunDir, state: TrainingState, progress: TrainingProgress) -> None:
    """Save the newest model with the optimizer and the progress."""
    extra = dataclasses.asdict(progress)
    if state.feedback_source is not None:
        extra[SOURCE_STATE] = state.feedback_source.state_dict()
    _save(
        state.model,
        run.last,
        {"selected_on": None, "step_selected": progress.step},
        optimizer=state.optimizer,
        extra=extra,
        learner=state.separate_learner,
    )


def _save(model: GraphMethod, path: Path, selection: Mapping[str, JSON], **options: Any) -> None:
    """Save a model whose provenance has the selection too, for this file only."""
    training = model.provenance
    model.provenance = {**training, **selection}
    # Training continues with the same model, whose provenance must not have the selection.
    try:
        checkpoint.save(model, path, **options)
    finally:
        model.provenance = training


def restore(run: RunDir, state: TrainingState, *, write: bool = True) -> TrainingProgress:
    """Restore model and optimizer from the last checkpoint.

    Args:
        run: the run folder.
        state: the state to fill.
        write: cut the metrics back to the checkpoint, which drops lines of steps that will be
            repeated.

    Returns:
        The progress of the checkpoint; that of a new run without one.

    Raises:
        CheckpointError: if the checkpoint is corrupt or of another model.
    """
    # Without a checkpoint the run was stopped before its first save and starts again at step 0.
    progress = TrainingProgress()
    if run.last.is_file():
        extra = checkpoint.read_extra(run.last)
        checkpoint.load(
            run.last,
            into=state.model,
            optimizer=state.optimizer,
            device=device_of(state.model),
            learner=state.separate_learner,
        )
        progress = parse_progress(run, extra)
        if state.feedback_source is not None:
            _restore_source(run, state.feedback_source, extra)
    # Steps after the checkpoint are repeated and will append their lines again. With several
    # processes only one of them may write.
    if write:
        truncate_metrics(run, progress.validated)
    return progress


def _restore_source(run: RunDir, source: FeedbackSource, extra: Mapping[str, Any]) -> None:
    """Restore the state of the training tasks. Raises CheckpointError if it is invalid."""
    try:
        source.load_state_dict(extra.get(SOURCE_STATE, {}))
    except InvalidInputError as error:
        raise CheckpointError(
            f"{run.last} lacks the state of the training tasks ({error}); restore the original file"
        ) from error


def truncate_metrics(run: RunDir, step: int) -> None:
    """Drop lines of the metrics after a step, and an incomplete last line.

    Raises:
        InvalidInputError: if a line is not a JSON record.
    """
    if not run.metrics.is_file():
        return
    try:
        text = run.metrics.read_text(encoding="utf-8")
        # A process that was killed may have left an incomplete last line.
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        remaining = [line for line in lines if json.loads(line)["step"] <= step]
    except PARSE_ERRORS as error:
        raise InvalidInputError(
            f"{run.metrics} cannot be read ({str(error)[:500]}); start a new run in another folder"
        ) from error
    write_text(run.metrics, "".join(remaining))


def parse_progress(run: RunDir, extra: Mapping[str, Any]) -> TrainingProgress:
    """Read the progress that the last checkpoint holds.

    Raises:
        CheckpointError: if a field is unknown or is not a number.
    """
    extra = {name: value for name, value in extra.items() if name != SOURCE_STATE}
    fields = {field.name for field in dataclasses.fields(TrainingProgress)}
    if set(extra) - fields:
        # Without the unknown name, which may be of any length.
        raise CheckpointError(
            f"{run.last} is not a checkpoint of a training run (it has unknown fields); restore the "
            "original file"
        )
    try:
        progress = TrainingProgress(**extra)
        # `type`, not `isinstance`: a Boolean is an int in Python.
        for name, value in dataclasses.asdict(progress).items():
            is_float = name in FLOAT_FIELDS and type(value) is float
            if type(value) is not int and not is_float:
                raise TypeError(f"{name} is not a number")
        return progress
    except TypeError as error:
        raise CheckpointError(
            f"{run.last} is not a checkpoint of a training run ({error}); restore the original file"
        ) from error
