"""Carrying out a training run in its folder: new, or resumed, to its end or to an interrupt."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from graphfew._utils.model_spec import JSON
from graphfew.errors import GraphfewError
from graphfew.nn.method import device_of
from graphfew.runs import run_dir
from graphfew.runs.build import build
from graphfew.runs.config import PLACES, Schedule, TrainConfig, contradictions
from graphfew.runs.fit import TrainingProgress, ValidationEvent, due, ended, fit
from graphfew.runs.objectives import without_encoder
from graphfew.runs.run_dir import Run
from graphfew.runs.state import TrainingState
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup, rank_range

Watch = Callable[[ValidationEvent], None]
Stop = Callable[[], bool]


class Interrupted(GraphfewError):
    """Training was stopped and saved; `step` steps are done."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedRun:
    """A run whose every input has been checked, ready to be carried out from `tally`.

    Shapes:
        notes: what has changed since the run began and may change its last digits.
    """

    run: Run
    config: TrainConfig
    job: TrainingState
    tally: TrainingProgress
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Clock:
    """Seconds spent on training and on validating, and the tasks trained on."""

    training: float = 0.0
    validating: float = 0.0
    tasks: int = 0

    def plus(self, moment: ValidationEvent, seconds: float, batch: int) -> Clock:
        """The clock after a moment that took so many seconds."""
        if moment.step is None:
            return dataclasses.replace(self, validating=self.validating + seconds)
        return dataclasses.replace(self, training=self.training + seconds, tasks=self.tasks + batch)


def prepare(
    out: Path, options: Mapping[str, Any], workers: ProcessGroup = SINGLE_PROCESS
) -> PreparedRun:
    """A new run: everything is loaded and checked, then the folder is made.

    Args:
        out: the run folder; new or empty.
        options: of `TrainConfig` and `Schedule` by name; what is missing has its default.
        workers: the processes that carry it out; the first of them writes.

    Raises:
        ValueError: a folder that is not empty, or anything that the run would fail at; nothing has been written.
        FileNotFoundError: data or a checkpoint that is not there.
    """
    run = Run(out)
    first = workers.rank == 0
    if first:
        run_dir.refuse_existing(run)
    config = TrainConfig.of(options)
    rank_range(range(config.schedule.batch), workers)
    job = build(config)
    if first:
        run_dir.start(run, config)
    return PreparedRun(run, config, job, TrainingProgress())


def reopen(
    out: Path, options: Mapping[str, Any], workers: ProcessGroup = SINGLE_PROCESS
) -> PreparedRun:
    """The run in the folder, where it stopped.

    Args:
        out: the run folder.
        options: may repeat those of the run, or change `root` and `device`.
        workers: the processes that carry it out, as many as began it or others; the first of them writes.

    Raises:
        FileNotFoundError: no run there.
        ValueError: options that contradict the run's, or a last checkpoint that cannot be read.
    """
    run = Run(out)
    config, began_with = run_dir.read_config(run)
    faults = contradictions(config, options)
    if faults:
        raise ValueError(
            f"{out} holds another run: {'; '.join(faults)}; leave these options out, or start a new run"
        )
    config = dataclasses.replace(
        config, **{key: value for key, value in options.items() if key in PLACES}
    )
    rank_range(range(config.schedule.batch), workers)
    job = build(config, resuming=run.last.is_file())
    here = run_dir.versions()
    notes = tuple(
        f"{name} was {value} and is {here.get(name)}"
        for name, value in began_with.items()
        if here.get(name) != value
    )
    return PreparedRun(run, config, job, run_dir.restore(run, job, write=workers.rank == 0), notes)


def execute(
    prepared: PreparedRun,
    *,
    watch: Watch = lambda moment: None,
    stop: Stop = lambda: False,
    workers: ProcessGroup = SINGLE_PROCESS,
) -> TrainingProgress:
    """Train to the end, writing metrics, `best`, `last` and timing.

    Args:
        prepared: from `prepare` or `reopen`.
        watch: called after every step and every validation.
        stop: asked between steps and, of a single process, between batches of validation.
        workers: the processes that carry the run out together; the first of them writes.

    Raises:
        Interrupted: `stop` said so, in any process; `last` holds the last completed step.
        FloatingPointError: the loss is not finite; `last` is as it was.
        WorkerLost: another process has ended; `last` is as it was.
    """
    run, config, job, now = prepared.run, prepared.config, prepared.job, prepared.tally
    schedule = config.schedule

    device = device_of(job.model)

    def halt(done: int = 0) -> None:
        del done
        if float(workers.sum(torch.tensor(float(stop()), device=device))) and not finished(
            now, schedule
        ):
            raise Interrupted(now.step)

    alone, first = workers.size == 1, workers.rank == 0
    past, clock, mark = run_dir.sessions(run), Clock(), time.perf_counter()
    inner = without_encoder(job) if config.freeze_encoder else job
    moments = fit(
        inner.model,
        inner.source,
        inner.validation,
        schedule,
        loss=job.loss,
        optimizer=job.optimizer,
        tally=now,
        progress=halt if alone else None,
        learner=inner.learner,
        after=inner.after,
        workers=workers,
    )
    try:
        for moment in moments:
            now = moment.tally
            clock, mark = (
                clock.plus(moment, time.perf_counter() - mark, schedule.batch),
                time.perf_counter(),
            )
            if first:
                _keep(prepared, moment)
            watch(moment)
            halt()
    except Interrupted:
        if first:
            run_dir.save_last(run, job, now)
        raise
    finally:
        if first:
            run_dir.write_json(run.timing, {"sessions": [*past, _session(prepared, now, clock)]})
    return now


def finished(tally: TrainingProgress, schedule: Schedule) -> bool:
    """Whether nothing is left to do."""
    return ended(tally, schedule) and tally.validated == tally.step


def _keep(prepared: PreparedRun, moment: ValidationEvent) -> None:
    run, schedule, tally = prepared.run, prepared.config.schedule, moment.tally
    if moment.record is not None:
        run_dir.append(run, moment.record)
    if moment.improved:
        run_dir.save_best(run, prepared.job.model, prepared.config, tally.step)
    every = schedule.save_every or schedule.validate_every
    if not due(tally, schedule) and (tally.step % every == 0 or ended(tally, schedule)):
        run_dir.save_last(run, prepared.job, tally)


def _session(prepared: PreparedRun, now: TrainingProgress, clock: Clock) -> dict[str, JSON]:
    return {
        "from_step": prepared.tally.step,
        "to_step": now.step,
        "device": prepared.config.device,
        "training_seconds": round(clock.training, 3),
        "validating_seconds": round(clock.validating, 3),
        "episodes_per_second": round(clock.tasks / clock.training, 2) if clock.training else None,
    }
