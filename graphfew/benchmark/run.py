"""Running specs: the trainings that missing cells need, then these cells, each written as soon as it is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import torch

from graphfew.benchmark.check import check
from graphfew.benchmark.data_config import Roots
from graphfew.benchmark.dispatch import AnyCell, all_cells, measuring
from graphfew.benchmark.loader import AnySpec
from graphfew.benchmark.lock import locked
from graphfew.benchmark.records import Record, append, read
from graphfew.benchmark.semi_supervised import PileCell
from graphfew.benchmark.training_jobs import Job, behind, folder, is_finished, jobs, ready
from graphfew.errors import ContractError, GraphfewError
from graphfew.runs import Schedule, TrainingEvent, TrainingInterrupted, execute, resolve_device

FAULTS = (ValueError, TypeError, OSError, RuntimeError, ContractError, FloatingPointError)
Stop = Callable[[], bool]


class Stopped(GraphfewError):
    """The run was stopped; everything that was finished is kept."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How specs are run.

    Shapes:
        out: the folder of results files, with the runs of trainings below it.
        roots: folders of data sets, by name.
        only: names of rows; all where it is empty.
        most: at most so many tasks in a cell.
        train_only: stop before the first evaluation.
        keep_going: a spec whose data are not there, a training or a cell that fails is told, and the others go on.
        command: what records say of it.
    """

    out: Path
    roots: Roots = dataclasses.field(default_factory=dict)
    device: str = "cpu"
    only: tuple[str, ...] = ()
    most: int | None = None
    train_only: bool = False
    keep_going: bool = False
    command: str = ""


@dataclasses.dataclass(frozen=True)
class Screen:
    """How a run tells of itself.

    Shapes:
        say, warn: a line of text, of what is done and of what went wrong.
        training: bars over the steps of a schedule from a step on, as a function of moments.
        counting: a bar over a number of tasks, as a function of what is done and how many are.
    """

    say: Callable[[str], None]
    warn: Callable[[str], None]
    training: Callable[[Schedule, int], AbstractContextManager[Callable[[TrainingEvent], None]]]
    counting: Callable[[int], AbstractContextManager[Callable[[str, int], None]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What is left of a spec: cells without a record, and the trainings that these need."""

    spec: AnySpec
    path: Path
    cells: tuple[AnyCell, ...]
    missing: tuple[AnyCell, ...]
    jobs: tuple[Job, ...]


def plan(spec: AnySpec, options: Options, warn: Callable[[str], None]) -> Plan:
    """What is left to do; lines of the results file that cannot be read are told, their cells are missing.

    Raises:
        ValueError: a row that is not there, or a folder of a training that holds another one.
    """
    path = options.out / f"{spec.name}.jsonl"
    records, faults = read(path)
    for fault in faults:
        warn(str(fault))
    done = {record.key for record in records}
    wanted = all_cells(spec, options.most, options.only)
    missing = tuple(cell for cell in wanted if cell.key not in done)
    needed = jobs(missing, options.out, options.roots, options.device)
    return Plan(spec, path, wanted, missing, tuple(job for job in needed if not is_finished(job)))


def run(
    specs: Sequence[AnySpec], options: Options, screen: Screen, stop: Stop = lambda: False
) -> int:
    """Do what is left of every spec; the number of specs, trainings and cells that failed, where it keeps going.

    Raises:
        Stopped: `stop` said so.
        ValueError: anything that the specs ask and cannot be, before the first training where that can be told; or
            another process that writes the same results.
    """
    resolve_device(options.device)
    with ExitStack() as stack:
        for spec in specs:
            stack.enter_context(locked(options.out / f"{spec.name}.jsonl"))
        plans = [plan(spec, options, screen.warn) for spec in specs]
        able = [left for left in plans if _checks(left, options, screen)]
        failed = len(plans) - len(able)
        return failed + sum(_carry_out(left, options, screen, stop) for left in able)


def _checks(left: Plan, options: Options, screen: Screen) -> bool:
    try:
        check(left.missing, left.jobs, options.roots)
    except FAULTS as error:
        _tell(f"{left.spec.name} is left out", error, options, screen)
        return False
    return True


def _carry_out(left: Plan, options: Options, screen: Screen, stop: Stop) -> int:
    had = len(left.cells) - len(left.missing)
    screen.say(
        f"{left.spec.name}: {len(left.jobs)} trainings and {len(left.missing)} cells to do, {had} cells done"
    )
    failed = _train(left.jobs, options, screen, stop)
    if options.train_only or not left.missing:
        return len(failed)
    runs = {job.run.folder for job in failed}
    able = [cell for cell in left.missing if not runs & set(_folders(cell, options.out))]
    if len(able) < len(left.missing):
        screen.warn(
            f"{left.spec.name}: {len(left.missing) - len(able)} cells are left out, their training failed"
        )
    return len(failed) + (_evaluate(able, left, options, screen, stop) if able else 0)


def _train(todo: Sequence[Job], options: Options, screen: Screen, stop: Stop) -> list[Job]:
    """The trainings that failed."""
    failed: list[Job] = []
    for job in todo:
        start = next(
            (bad for bad in failed if bad.run.best.as_posix() == job.config.init_encoder), None
        )
        if start is not None:
            screen.warn(f"training {job} is left out, that of its start, {start}, failed")
            failed.append(job)
            continue
        try:
            _train_one(job, screen, stop)
        except FAULTS as error:
            _tell(f"training {job}", error, options, screen)
            failed.append(job)
    return failed


def _train_one(job: Job, screen: Screen, stop: Stop) -> None:
    prepared = ready(job)
    schedule, begun = prepared.config.schedule, prepared.progress.step
    screen.say(f"training {job}: {begun} of {schedule.steps} steps done, in {job.run.folder}")
    for note in prepared.notes:
        screen.warn(f"training {job}: {note}")
    try:
        with screen.training(schedule, begun) as watch:
            execute(prepared, on_event=watch, should_stop=stop)
    except TrainingInterrupted as interrupt:
        raise Stopped(
            f"stopped after step {interrupt.step} of {schedule.steps} of {job}"
        ) from interrupt


def _evaluate(
    todo: Sequence[AnyCell], left: Plan, options: Options, screen: Screen, stop: Stop
) -> int:
    measure = measuring(
        left.spec, options.out, options.roots, torch.device(options.device), options.command
    )
    failures, done = 0, 0
    with screen.counting(sum(cell.count for cell in todo)) as show:
        for number, cell in enumerate(todo):

            def progress(
                tasks: int, cell: AnyCell = cell, number: int = number, done: int = done
            ) -> None:
                show(f"{cell.spec.name}: {cell}", done + tasks)
                if stop():
                    raise Stopped(
                        f"stopped after {number} of {len(todo)} cells of {cell.spec.name}"
                    )

            try:
                progress(0)
                record = measure(cell, progress)
                append(left.path, record)
                screen.say(_line(cell, record))
            except FAULTS as error:
                _tell(f"{cell.spec.name}: {cell}", error, options, screen)
                failures += 1
            done += cell.count
    return failures


def _tell(what: str, error: Exception, options: Options, screen: Screen) -> None:
    """Where the run keeps going, a line of what failed; else the error."""
    if not options.keep_going:
        raise error
    screen.warn(f"{what}: {' '.join(str(error).split()) or type(error).__name__}")


def _line(cell: AnyCell, record: Record) -> str:
    return f"{cell.spec.name}: {cell}: {record.result}, {record.seconds:.1f} s"


def _folders(cell: AnyCell, out: Path) -> Collection[Path]:
    if isinstance(cell, PileCell):
        return ()
    return {folder(cell.spec, training.name, seed, out).folder for training, seed in behind(cell)}
