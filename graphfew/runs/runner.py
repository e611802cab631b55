"""Execution of a training run in its folder: new or resumed, to its end or to an interruption."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from graphfew._utils.model_spec import JSON
from graphfew.errors import ConfigurationError, GraphfewError
from graphfew.nn.method import device_of
from graphfew.runs import environment, run_dir
from graphfew.runs.build import build_state
from graphfew.runs.config import TrainConfig
from graphfew.runs.fit import TrainingEvent, TrainingProgress, fit
from graphfew.runs.objectives import encode_items
from graphfew.runs.option_catalog import LOCATION_OPTIONS, contradictions
from graphfew.runs.run_dir import RunDir
from graphfew.runs.state import TrainingState
from graphfew.runs.update_options import QUERY_LOSS
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup, shard_batch

OnEvent = Callable[[TrainingEvent], None]
ShouldStop = Callable[[], bool]


class TrainingInterrupted(GraphfewError):
    """Training was stopped and saved.

    Attributes:
        step: number of completed steps.

    Example:
        >>> from graphfew.runs import TrainingInterrupted
        >>> str(TrainingInterrupted(12))
        'stopped after step 12'
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedRun:
    """A run whose inputs have all been checked, ready for `execute`.

    Attributes:
        run: the run folder.
        config: the configuration.
        state: model, tasks, loss and optimizer.
        progress: where it continues.
        notes: sentences about what may change the last digits, or differs from the configuration.

    Example:
        >>> import tempfile
        >>> from graphfew.runs import prepare
        >>> options = {"method": "prototypical", "data": "glyphs", "steps": 0}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prepared = prepare(Path(folder) / "run", options)
        >>> prepared.progress.step, prepared.notes
        (0, ())
    """

    run: RunDir
    config: TrainConfig
    state: TrainingState
    progress: TrainingProgress
    notes: tuple[str, ...] = ()


@dataclasses.dataclass
class _Stopwatch:
    """Seconds spent on training and on validation, and the number of training tasks."""

    training: float = 0.0
    validating: float = 0.0
    n_tasks: int = 0
    started: float = dataclasses.field(default_factory=time.perf_counter)

    def add(self, event: TrainingEvent, batch: int) -> None:
        """Account for the time since the previous event."""
        # An event is timed from the previous one, so the time of saves counts too.
        seconds = time.perf_counter() - self.started
        if event.step is None:
            self.validating += seconds
        else:
            self.training += seconds
            self.n_tasks += batch
        self.started = time.perf_counter()


def prepare(
    out: Path, options: Mapping[str, Any], process_group: ProcessGroup = SINGLE_PROCESS
) -> PreparedRun:
    """Prepare a new run: load and check everything, then create the folder.

    Args:
        out: the run folder; new or empty.
        options: options of `TrainConfig` and `Schedule` by name.
        process_group: the processes of the run; the first one writes.

    Returns:
        The run, for `execute`.

    Raises:
        ValueError: if the folder is not empty, or for anything that would fail during the run;
            nothing has been written then.
        FileNotFoundError: if data or a checkpoint is missing.

    Example:
        >>> import tempfile
        >>> from graphfew.runs import execute, prepare
        >>> options = {"method": "prototypical", "data": "glyphs", "steps": 0, "validate_tasks": 4}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     progress = execute(prepare(Path(folder) / "run", options))
        ...     sorted(path.name for path in (Path(folder) / "run").iterdir())
        ['best.safetensors', 'config.json', 'last.safetensors', 'metrics.jsonl', 'timing.json']
    """
    run = RunDir(out)
    is_writer = process_group.rank == 0
    # Before data are loaded and the device is used, which may take minutes.
    if is_writer:
        run_dir.check_new(run)
    config = TrainConfig.from_options(options)
    # Only for its error: a batch that cannot be split must fail before the folder exists.
    _check_processes(config, process_group)
    state = build_state(config)
    # Last, so that an invalid configuration leaves no folder behind.
    if is_writer:
        run_dir.create(run, config)
    return PreparedRun(run, config, state, TrainingProgress(), _precision_notes(config, state))


def resume(
    out: Path, options: Mapping[str, Any], process_group: ProcessGroup = SINGLE_PROCESS
) -> PreparedRun:
    """Prepare a run to continue where it stopped.

    Args:
        out: the run folder.
        options: may repeat the options of the run, or change `root` and `device`.
        process_group: the processes of the run, in any number; the first one writes.

    Returns:
        The run, for `execute`.

    Raises:
        MissingFileError: if the folder has no run.
        ConfigurationError: if options contradict those of the run.
        CheckpointError: if the last checkpoint cannot be read.

    Example:
        >>> from graphfew.runs import resume
        >>> resume(Path("no-run"), {})
        Traceback (most recent call last):
        graphfew.errors.MissingFileError: no-run holds no run (no config.json); omit --resume ...
    """
    run = RunDir(out)
    config, versions_before = run_dir.read_config(run)
    # An option that contradicts the folder would otherwise be ignored silently.
    differences = contradictions(config, options)
    if differences:
        raise ConfigurationError(
            f"{out} holds another run: {'; '.join(differences)}; omit these options, or start a "
            "new run"
        )
    locations = {name: options[name] for name in LOCATION_OPTIONS if name in options}
    config = dataclasses.replace(config, **locations)
    _check_processes(config, process_group)
    # A run that was stopped before its first save has no weights yet and needs `init_encoder`.
    state = build_state(config, resuming=run.last.is_file())
    progress = run_dir.restore(run, state, write=process_group.rank == 0)
    notes = (*_version_notes(versions_before), *_precision_notes(config, state))
    return PreparedRun(run, config, state, progress, notes)


def _check_processes(config: TrainConfig, process_group: ProcessGroup) -> None:
    """Check that the processes can train together. Raises ConfigurationError or InvalidInputError."""
    shard_batch(range(config.schedule.batch), process_group)
    update = config.updates.update
    if process_group.size > 1 and update != QUERY_LOSS:
        raise ConfigurationError(
            f"update={update} trains in one process; leave processes out", key="update"
        )


def _version_notes(versions_before: Mapping[str, JSON]) -> list[str]:
    """Sentences about versions that have changed since the run was started."""
    versions = environment.versions()
    notes = []
    for name, before in versions_before.items():
        now = versions.get(name)
        if now != before:
            notes.append(
                f"{name} was {before} and is {now} since the run was started; the last digits of "
                "results may differ"
            )
    return notes


def _precision_notes(config: TrainConfig, state: TrainingState) -> tuple[str, ...]:
    """A sentence if the device does not support the configured precision."""
    configured, used = config.schedule.precision, state.schedule.precision
    if configured == used:
        return ()
    return (
        f"{config.device} has no {configured} hardware support and would be slower in it; "
        f"training uses {used}",
    )


def execute(
    prepared: PreparedRun,
    *,
    on_event: OnEvent = lambda event: None,
    should_stop: ShouldStop = lambda: False,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> TrainingProgress:
    """Train to the end, and write metrics, checkpoints and timing.

    Args:
        prepared: a run from `prepare` or `resume`.
        on_event: called after each step and each validation.
        should_stop: checked between steps and, with a single process, between the batches of a
            validation.
        process_group: the processes of the run; the first one writes.

    Returns:
        The final progress.

    Raises:
        TrainingInterrupted: if `should_stop` returned True in any process; the last checkpoint
            has the last completed step.
        NumericalError: if the loss is not finite; the last checkpoint is unchanged.
        ProcessLostError: if another process has ended; the last checkpoint is unchanged.

    Example:
        See `prepare`, whose example executes a run.
    """
    run, state, now = prepared.run, prepared.state, prepared.progress
    schedule = state.schedule
    device = device_of(state.model)

    def stop_if_requested(completed_tasks: int = 0) -> None:
        # The signature is that of `on_validation_progress`.
        del completed_tasks
        # All processes must stop at the same step, also if only one received the signal.
        n_requests = process_group.sum(torch.tensor(float(should_stop()), device=device))
        # After the last validation nothing is left to interrupt, so the run ends normally.
        if float(n_requests) and not now.is_finished(schedule):
            raise TrainingInterrupted(now.step)

    is_single = process_group.size == 1
    is_writer = process_group.rank == 0
    previous_sessions = run_dir.read_sessions(run)
    stopwatch = _Stopwatch()
    # A frozen encoder runs once per item; checkpoints are saved from `state`, which has it.
    inner = encode_items(state) if prepared.config.freeze_encoder else state
    feedback_source = inner.feedback_source
    events = fit(
        inner.model,
        inner.source,
        inner.validation,
        schedule,
        loss=state.loss,
        optimizer=state.optimizer,
        progress=now,
        # Processes may have different numbers of batches to validate, so that an all-reduce in
        # each batch would deadlock.
        on_validation_progress=stop_if_requested if is_single else None,
        learner=inner.learner,
        after_step=inner.after_step,
        update=inner.update,
        feedback=None if feedback_source is None else feedback_source.update,
        process_group=process_group,
    )
    try:
        for event in events:
            now = event.progress
            stopwatch.add(event, schedule.batch)
            # Before the callback, which may read the files, or raise.
            if is_writer:
                _save_event(prepared, event)
            on_event(event)
            stop_if_requested()
    except TrainingInterrupted:
        # Also between regular saves, so that no completed step is lost.
        if is_writer:
            run_dir.save_last(run, state, now)
        raise
    finally:
        # Also after an error, because the time was spent.
        if is_writer:
            sessions: list[JSON] = [*previous_sessions, _session(prepared, now, stopwatch)]
            run_dir.write_json(run.timing, {"sessions": sessions})
    return now


def _save_event(prepared: PreparedRun, event: TrainingEvent) -> None:
    """Write what an event changes: metrics, best and last checkpoint."""
    run, schedule, progress = prepared.run, prepared.state.schedule, event.progress
    if event.record is not None:
        run_dir.append_metrics(run, event.record)
    if event.improved:
        run_dir.save_best(run, prepared.state.model, prepared.config, progress.step)
    # A validation that is pending at this step must come before the save, or it would be lost.
    if progress.is_validation_step(schedule):
        return
    interval = schedule.save_every or schedule.validate_every
    if progress.step % interval == 0 or progress.has_ended(schedule):
        run_dir.save_last(run, prepared.state, progress)


def _session(
    prepared: PreparedRun, progress: TrainingProgress, stopwatch: _Stopwatch
) -> dict[str, JSON]:
    """Timing of one session, for `timing.json`."""
    speed = None
    if stopwatch.training:
        speed = round(stopwatch.n_tasks / stopwatch.training, 2)
    return {
        "from_step": prepared.progress.step,
        "to_step": progress.step,
        "device": prepared.config.device,
        "precision": prepared.state.schedule.precision,
        "training_seconds": round(stopwatch.training, 3),
        "validating_seconds": round(stopwatch.validating, 3),
        "episodes_per_second": speed,
    }
