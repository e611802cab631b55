"""Running benchmarks: the missing trainings, then the missing experiments, each saved when done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import torch

from graphfew.benchmark.data_config import DataRoots
from graphfew.benchmark.experiments import AnyExperiment, list_experiments
from graphfew.benchmark.loader import AnyBenchmark
from graphfew.benchmark.lock import results_lock
from graphfew.benchmark.measurement import MeasurementContext, measure_episodes
from graphfew.benchmark.model_loading import FeatureCache
from graphfew.benchmark.preflight import check_before_run, load_test_items
from graphfew.benchmark.records import BenchmarkRecord, append_record, read_records
from graphfew.benchmark.semi_supervised import SemiSupervisedBenchmark
from graphfew.benchmark.semi_supervised_run import (
    load_semi_supervised_data,
    measure_semi_supervised,
)
from graphfew.benchmark.training_jobs import (
    TrainingJob,
    is_finished,
    job_progress,
    open_job,
    seconds_per_step,
    training_jobs,
)
from graphfew.errors import GraphfewError
from graphfew.evaluation import ContractError
from graphfew.runs import Schedule, TrainingEvent, TrainingInterrupted, execute, resolve_device
from graphfew.runs.environment import package_commit

# What a bad spec, file or model may raise. Any other error is a fault of the code and ends the
# run, even with keep_going.
FAILURES = (ValueError, TypeError, OSError, RuntimeError, ContractError, FloatingPointError)
Stop = Callable[[], bool]


class BenchmarkStopped(GraphfewError):
    """The run was stopped; everything that was finished is saved."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How benchmarks are run.

    Attributes:
        out: folder of results files, with the training runs below it.
        roots: folders of data sets, by name.
        rows: names of rows; all if empty.
        max_tasks: the most tasks per experiment.
        train_only: stop before the first evaluation.
        keep_going: report what fails and continue with the rest.
        command: the command line, for the records.
    """

    out: Path
    roots: DataRoots = dataclasses.field(default_factory=dict)
    device: str = "cpu"
    rows: tuple[str, ...] = ()
    max_tasks: int | None = None
    train_only: bool = False
    keep_going: bool = False
    command: str = ""


@dataclasses.dataclass(frozen=True)
class ProgressDisplay:
    """Functions that show the progress of a run.

    Attributes:
        info, warn: show a line of text.
        training: a progress bar over the steps of a schedule, from a step on.
        evaluation: a progress bar over a number of tasks.
    """

    info: Callable[[str], None]
    warn: Callable[[str], None]
    training: Callable[[Schedule, int], AbstractContextManager[Callable[[TrainingEvent], None]]]
    evaluation: Callable[[int], AbstractContextManager[Callable[[str, int], None]]]


@dataclasses.dataclass(frozen=True, eq=False)
class RunPlan:
    """What is left of a spec: experiments without a record, and the trainings they need."""

    spec: AnyBenchmark
    path: Path
    experiments: tuple[AnyExperiment, ...]
    missing: tuple[AnyExperiment, ...]
    jobs: tuple[TrainingJob, ...]


@dataclasses.dataclass(frozen=True)
class JobStatus:
    """Progress of a training, in steps, or of a row, in experiments.

    Attributes:
        seconds_per_step: of a training; None if no step was timed, and for rows.
    """

    name: str
    done: int
    total: int
    seconds_per_step: float | None = None


def plan_run(spec: AnyBenchmark, options: RunOptions, warn: Callable[[str], None]) -> RunPlan:
    """Return what is left to do.

    Unreadable lines of the results file are passed to `warn`; their experiments count as missing.
    """
    path = options.out / f"{spec.name}.jsonl"
    records, unreadable = read_records(path)
    for line in unreadable:
        warn(str(line))
    done = {record.key for record in records}
    experiments = list_experiments(spec, options.max_tasks, options.rows)
    missing = tuple(e for e in experiments if e.key not in done)
    # Only of missing experiments: results remain valid without the checkpoints that they came
    # from.
    needed = training_jobs(missing, options.out, options.roots, options.device)
    jobs = tuple(job for job in needed if not is_finished(job))
    return RunPlan(spec, path, experiments, missing, jobs)


def run_status(
    plan: RunPlan, options: RunOptions
) -> tuple[tuple[JobStatus, ...], tuple[JobStatus, ...]]:
    """Return the progress of the trainings and of the rows. Raises as `job_progress` does."""
    trainings: list[JobStatus] = []
    for job in training_jobs(plan.experiments, options.out, options.roots, options.device):
        tally = job_progress(job)
        step = 0 if tally is None else tally.step
        total = job.config.schedule.steps
        trainings.append(JobStatus(str(job), step, total, seconds_per_step(job)))
    names = [experiment.method.name for experiment in plan.experiments]
    missing = [experiment.method.name for experiment in plan.missing]
    rows: list[JobStatus] = []
    for name in dict.fromkeys(names):
        total = names.count(name)
        rows.append(JobStatus(name, total - missing.count(name), total))
    return tuple(trainings), tuple(rows)


def run_benchmarks(
    specs: Sequence[AnyBenchmark],
    options: RunOptions,
    display: ProgressDisplay,
    stop: Stop = lambda: False,
) -> int:
    """Run what is left of every spec.

    Returns:
        The number of specs, trainings and experiments that failed, with `keep_going`.

    Raises:
        BenchmarkStopped: `stop` returned True.
        ConfigurationError: a spec cannot be run, or another process is writing the same results;
            before the first training where possible.
    """
    # Before the data is read, which may take minutes.
    resolve_device(options.device)
    # All locks come before the plans: a plan would be out of date if another process finished
    # experiments in between.
    with ExitStack() as locks:
        for spec in specs:
            locks.enter_context(results_lock(options.out / f"{spec.name}.jsonl"))
        plans = [plan_run(spec, options, display.warn) for spec in specs]
        runs = [_BenchmarkRun(plan, options, display, stop) for plan in plans]
        # All specs are checked before the first one trains for hours.
        ready = [run for run in runs if run.check()]
        failed = len(runs) - len(ready)
        for run in ready:
            failed += run.run()
    return failed


@dataclasses.dataclass(frozen=True, eq=False)
class _BenchmarkRun:
    """One spec of a run; methods return what failed."""

    plan: RunPlan
    options: RunOptions
    display: ProgressDisplay
    stop: Stop

    def check(self) -> bool:
        try:
            check_before_run(self.plan.missing, self.plan.jobs, self.options.roots)
        except FAILURES as error:
            self._report(f"{self.plan.spec.name} is skipped", error)
            return False
        return True

    def run(self) -> int:
        plan, name = self.plan, self.plan.spec.name
        n_done = len(plan.experiments) - len(plan.missing)
        self.display.info(
            f"{name}: {len(plan.jobs)} trainings and {len(plan.missing)} experiments to do, "
            f"{n_done} experiments done"
        )
        failed = self._train_all()
        if self.options.train_only:
            return len(failed)
        # Other rows do not depend on the failed trainings, so they are still evaluated.
        blocked = {(job.training.name, job.seed) for job in failed}
        ready = [
            experiment
            for experiment in plan.missing
            if not blocked & {(training.name, seed) for training, seed in experiment.training_steps}
        ]
        if len(ready) < len(plan.missing):
            n_skipped = len(plan.missing) - len(ready)
            self.display.warn(f"{name}: {n_skipped} experiments are skipped, their training failed")
        return len(failed) + (self._evaluate_all(ready) if ready else 0)

    def _train_all(self) -> list[TrainingJob]:
        failed: list[TrainingJob] = []
        for job in self.plan.jobs:
            init = job.config.init_encoder
            # A configuration refers to its initial encoder by path only.
            blocker = next((bad for bad in failed if bad.run.best.as_posix() == init), None)
            if blocker is not None:
                self.display.warn(
                    f"training {job} is skipped: the training that it is initialized from, "
                    f"{blocker}, failed"
                )
                failed.append(job)
                continue
            try:
                self._train(job)
            except FAILURES as error:
                self._report(f"training {job}", error)
                failed.append(job)
        return failed

    def _train(self, job: TrainingJob) -> None:
        prepared = open_job(job)
        schedule, first = prepared.config.schedule, prepared.progress.step
        self.display.info(
            f"training {job}: {first} of {schedule.steps} steps done, in {job.run.folder}"
        )
        for note in prepared.notes:
            self.display.warn(f"since {job} started, {note}; it may differ in the last digits")
        try:
            with self.display.training(schedule, first) as watch:
                execute(prepared, on_event=watch, should_stop=self.stop)
        except TrainingInterrupted as interrupt:
            # Not among FAILURES, so that keep_going does not catch it.
            raise BenchmarkStopped(
                f"stopped after step {interrupt.step} of {schedule.steps} of {job}"
            ) from interrupt

    def _evaluate_all(self, experiments: Sequence[AnyExperiment]) -> int:
        name = self.plan.spec.name
        measure = _open_measure(self.plan.spec, self.options)
        n_failed, n_tasks_done = 0, 0
        with self.display.evaluation(sum(e.count for e in experiments)) as show:
            for number, experiment in enumerate(experiments):
                stopped = f"stopped after {number} of {len(experiments)} experiments of {name}"
                label = f"{name}: {experiment}"
                progress = partial(self._show_progress, show, label, n_tasks_done, stopped)
                try:
                    progress(0)
                    record = measure(experiment, progress=progress)
                    # Each result is saved at once: a run that is killed repeats one experiment
                    # at most.
                    append_record(self.plan.path, record)
                    self.display.info(f"{label}: {record.result}, {record.seconds:.1f} s")
                except FAILURES as error:
                    self._report(label, error)
                    n_failed += 1
                # Also after a failure, or the bar would not reach its end.
                n_tasks_done += experiment.count
        return n_failed

    def _show_progress(
        self, show: Callable[[str, int], None], label: str, before: int, stopped: str, tasks: int
    ) -> None:
        show(label, before + tasks)
        if self.stop():
            raise BenchmarkStopped(stopped)

    def _report(self, what: str, error: Exception) -> None:
        """Show what failed, or raise the error unless the run keeps going."""
        if not self.options.keep_going:
            raise error
        reason = " ".join(str(error).split()) or type(error).__name__
        self.display.warn(f"{what}: {reason}")


def _open_measure(spec: AnyBenchmark, options: RunOptions) -> Callable[..., BenchmarkRecord]:
    """Load the data of a spec and return the function that measures its experiments."""
    device = torch.device(options.device)
    # The commit is read once: the files of a checkout may change during a run of days, but the
    # code in memory does not.
    context = MeasurementContext(options.out, device, options.command, package_commit())
    if isinstance(spec, SemiSupervisedBenchmark):
        data = load_semi_supervised_data(spec, options.roots)
        return partial(measure_semi_supervised, items=data, context=context)
    cache = FeatureCache(load_test_items(spec, options.roots))
    return partial(measure_episodes, cache=cache, context=context)
