"""Measure classifiers on partially labeled sets: `python -m benchmarks.unlabeled_sets.run --processes 2`.

Every set is recorded when its methods are done. A later run with the same spec and code measures what
is missing; after a change of the code, it measures the methods that the change may affect again.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks.unlabeled_sets import code_version, records
from benchmarks.unlabeled_sets.datasets import FeatureSet, data_root, load_dataset
from benchmarks.unlabeled_sets.measures import measure, missing_reason
from benchmarks.unlabeled_sets.records import Records, Sample
from benchmarks.unlabeled_sets.settings import LabeledSet, list_settings, sample_set
from benchmarks.unlabeled_sets.spec import SPEC, MethodRow, SuiteSpec, read_spec
from graphfew.runs import environment

Report = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """The methods that are missing for one sample, with the keys of their results."""

    sample: Sample
    methods: tuple[MethodRow, ...]
    keys: dict[str, str]


@dataclass(frozen=True)
class JobResult:
    """Measures by method, and messages of the methods that failed."""

    sample: Sample
    n_items: int
    methods: dict[str, dict[str, float]]
    keys: dict[str, str]
    errors: tuple[str, ...]
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; return 1 if a method failed, else 0."""
    given = _parser().parse_args(arguments)
    spec = read_spec(given.spec)
    path = records.records_path(spec, given.out)
    datasets = load_datasets(spec, given.only, data_root(given.root), print)
    methods = available_methods(spec, given.methods, print)
    records.remove_incomplete_line(path)
    done = records.read_records(path)
    draws = spec.draws if given.draws is None else given.draws
    jobs = missing_jobs(spec, tuple(datasets), methods, draws, done, any_code=given.any_code)
    command = sys.argv[1:] if arguments is None else arguments
    header = run_header(command)
    return run_jobs(jobs, datasets, spec, path, header, given.processes, print)


def load_datasets(
    spec: SuiteSpec, only: Sequence[str] | None, root: Path, report: Report
) -> dict[str, FeatureSet]:
    """Load the data sets of a spec, each once; report those whose file is missing.

    Raises:
        ValueError: `only` names a data set that the spec does not have.
    """
    _check_names("data set", only, spec.datasets)
    loaded = {}
    for name in only or spec.datasets:
        data = _load_or_report(name, root, report)
        if data is not None:
            loaded[name] = data
    return loaded


def available_methods(
    spec: SuiteSpec, only: Sequence[str] | None, report: Report
) -> tuple[MethodRow, ...]:
    """Return the methods of a spec that can run here; report the others.

    Raises:
        ValueError: `only` names a method that the spec does not have.
    """
    _check_names("method", only, [row.name for row in spec.methods])
    available = []
    for row in spec.methods:
        if only and row.name not in only:
            continue
        reason = missing_reason(row)
        if reason is None:
            available.append(row)
        else:
            report(f"skipped {row.name}: {reason}")
    return tuple(available)


def missing_jobs(
    spec: SuiteSpec,
    datasets: Sequence[str],
    methods: Sequence[MethodRow],
    draws: int,
    done: Records,
    *,
    any_code: bool,
) -> list[Job]:
    """Return what is not recorded yet, draw by draw, so that an interrupted run has all settings."""
    keys = _result_keys(spec, methods)
    settings = [setting for setting in list_settings(spec) if setting.dataset in datasets]
    jobs = []
    for draw in range(draws):
        for setting in settings:
            sample = Sample(setting, draw)
            recorded = done.keys.get(sample, {})
            missing = []
            for row in methods:
                is_done = (
                    row.name in recorded if any_code else recorded.get(row.name) == keys[row.name]
                )
                if not is_done:
                    missing.append(row)
            if missing:
                jobs.append(
                    Job(sample, tuple(missing), {row.name: keys[row.name] for row in missing})
                )
    return jobs


def run_jobs(
    jobs: Sequence[Job],
    datasets: dict[str, FeatureSet],
    spec: SuiteSpec,
    path: Path,
    header: Mapping[str, object],
    processes: int,
    report: Report,
) -> int:
    """Run jobs, write each result when it is complete, and report progress.

    Returns:
        1 if a method failed, else 0.
    """
    begin = time.monotonic()
    failed = False
    impossible: collections.Counter[str] = collections.Counter()

    def samples() -> Iterator[tuple[Job, LabeledSet]]:
        for job in jobs:
            setting = job.sample.setting
            labeled_set = sample_set(datasets[setting.dataset], setting, job.sample.draw, spec)
            if labeled_set is None:
                impossible[str(setting)] += 1
            else:
                yield job, labeled_set

    for n_done, result in enumerate(_results(samples(), processes), 1):
        if n_done == 1:
            # Not before, so that a run without results leaves the file as it is.
            records.append_line(path, header)
        content = {
            "setting": asdict(result.sample.setting),
            "draw": result.sample.draw,
            "items": result.n_items,
            "keys": result.keys,
            "methods": result.methods,
        }
        records.append_line(path, content)
        failed = failed or bool(result.errors)
        for error in result.errors:
            report(f"failed: {error}")
        n_left = len(jobs) - n_done - impossible.total()
        left = (time.monotonic() - begin) / n_done * n_left
        report(
            f"[{len(jobs) - n_left}/{len(jobs)}] {result.sample.setting}, draw "
            f"{result.sample.draw}: {result.seconds:.1f} s; about {format_duration(left)} left"
        )
    for name in impossible:
        report(f"skipped {name}: the data set has too few items for it")
    return int(failed)


def run_job(job: Job, labeled_set: LabeledSet) -> JobResult:
    """Measure all methods of a job on its set; a method that fails does not stop the others."""
    begin = time.perf_counter()
    measured, errors = {}, []
    for row in job.methods:
        outcome = _measure_or_message(row, labeled_set, job.sample.setting.dataset)
        if isinstance(outcome, str):
            errors.append(f"{row.name} on {job.sample.setting}: {outcome}")
        else:
            measured[row.name] = outcome
    seconds = time.perf_counter() - begin
    keys = {name: job.keys[name] for name in measured}
    n_items = len(labeled_set.y)
    return JobResult(job.sample, n_items, measured, keys, tuple(errors), seconds)


def run_header(arguments: Sequence[str]) -> dict[str, object]:
    """Return the record of a run: its command, commit, versions and machine."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks.unlabeled_sets.run", *arguments]),
        "commit": environment.package_commit(),
        "versions": environment.versions(),
        "machine": environment.machine_name(torch.device("cpu")),
        "time": environment.utc_now(),
    }


def format_duration(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _results(samples: Iterator[tuple[Job, LabeledSet]], processes: int) -> Iterator[JobResult]:
    """Yield results in the order of completion."""
    if processes == 1:
        with threadpool_limits(1):
            for job, labeled_set in samples:
                yield run_job(job, labeled_set)
        return
    with ExitStack() as stack:
        # Not "fork": torch's threads do not survive it.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(processes, context, initializer=_use_one_thread)
        # After an interruption, jobs that have not started are dropped.
        stack.callback(pool.shutdown, cancel_futures=True)
        running: set[Future[JobResult]] = set()
        for job, labeled_set in samples:
            running.add(pool.submit(run_job, job, labeled_set))
            # Sets take megabytes, so only a few wait for a process.
            if len(running) >= 2 * processes:
                complete, running = wait(running, return_when=FIRST_COMPLETED)
                for future in complete:
                    yield future.result()
        for future in as_completed(running):
            yield future.result()


def _load_or_report(name: str, root: Path, report: Report) -> FeatureSet | None:
    try:
        return load_dataset(name, root)
    except FileNotFoundError as error:
        report(f"skipped {name}: {error.filename} is missing; set GRAPHFEW_DATA or --root")
        return None


def _measure_or_message(
    row: MethodRow, labeled_set: LabeledSet, dataset: str
) -> dict[str, float] | str:
    try:
        return measure(row, labeled_set, dataset)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def _result_keys(spec: SuiteSpec, methods: Sequence[MethodRow]) -> dict[str, str]:
    versions = {True: code_version.baseline_version(), False: code_version.classifier_version()}
    keys = {}
    for row in methods:
        keys[row.name] = records.result_key(spec, row, versions[row.baseline is not None])
    return keys


def _check_names(kind: str, given: Sequence[str] | None, known: Sequence[str]) -> None:
    unknown = sorted(set(given or ()) - set(known))
    if unknown:
        names = ", ".join(unknown)
        raise ValueError(f"the spec has no {kind} {names}; expected some of {', '.join(known)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, default=SPEC)
    parser.add_argument("--out", type=Path, default=records.RESULTS, help="folder of the records")
    parser.add_argument("--root", help="folder of the data sets; default: GRAPHFEW_DATA")
    parser.add_argument("--draws", type=int, help="number of draws; default: the spec's")
    parser.add_argument("--only", nargs="+", metavar="DATASET", help="data sets to run")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="methods to run")
    parser.add_argument("--processes", type=int, default=1, help="processes of one thread each")
    parser.add_argument(
        "--any-code", action="store_true", help="keep the results of other versions of the code"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
