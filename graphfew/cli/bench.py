"""`graphfew bench`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from graphfew.cli import console
from graphfew.cli.error_handling import FAILED, INTERRUPTED, interruptible, one_line_errors
from graphfew.data import DATASETS
from graphfew.errors import InvalidInputError, MissingDependencyError
from graphfew.runs.evaluation import portable_command

# The extra "bench" may be missing, and its packages take time to import.
if TYPE_CHECKING:
    from graphfew.benchmark import AnyBenchmark, JobStatus, ProgressDisplay, RunOptions

SPECS = Path("benchmarks/specs")
RESULTS = Path("benchmarks/results")


def bench(
    specs: Annotated[
        list[Path] | None, typer.Argument(metavar="SPEC...", help="TOML files.", show_default=False)
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of results, with the training runs in runs/.")
    ] = RESULTS,
    root: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Folder of a data set.")
    ] = None,
    device: Annotated[str, typer.Option(help="Such as cpu or cuda.")] = "cpu",
    only: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="Only this row; may be repeated.")
    ] = None,
    tasks: Annotated[
        int | None,
        typer.Option(
            help="At most this number of tasks per experiment, for a trial run.",
            show_default="as in the spec",
        ),
    ] = None,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="Train, but evaluate nothing.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="List what is done and what is left; run nothing.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Report failures and continue with the rest.")
    ] = False,
) -> None:
    """Run benchmarks: the trainings that they need, then every missing experiment.

    Each result is a line of OUT/NAME.jsonl, written when it is complete. Finished work is skipped,
    so the same command resumes an interrupted run.
    """
    command = _command(specs or [], out, root, device, only, tasks, train_only, keep_going)
    with one_line_errors():
        require_bench_extra()
        from graphfew.benchmark import BenchmarkStopped, RunOptions, run_benchmarks

        if tasks is not None and tasks < 2:
            raise InvalidInputError(f"--tasks is {tasks}; an interval needs at least 2")
        options = RunOptions(
            out,
            _parse_roots(root or []),
            device,
            tuple(only or ()),
            tasks,
            train_only,
            keep_going,
            portable_command(command),
        )
        loaded = _load_specs(specs or [])
        shown = console.stdout_console()
        if list_:
            _print_status(loaded, options, shown)
            return
        with interruptible() as stop:
            try:
                n_failed = run_benchmarks(loaded, options, _display(shown), stop)
            except BenchmarkStopped as stopped:
                resume = shlex.join(["graphfew", *command])
                typer.echo(f"S{str(stopped)[1:]}; resume with: {resume}", err=True)
                raise typer.Exit(INTERRUPTED) from stopped
    if n_failed:
        typer.echo(
            f"error: {n_failed} specs, trainings or experiments failed; the others are done",
            err=True,
        )
        raise typer.Exit(FAILED)


def require_bench_extra() -> None:
    """Raise MissingDependencyError unless the packages of the extra "bench" are installed."""
    try:
        import filelock  # noqa: F401
        import jinja2  # noqa: F401
        import pydantic  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'benchmarks need the package {error.name}; run: pip install "graphfew[bench]"'
        ) from error


def _command(
    specs: Sequence[Path],
    out: Path,
    root: Sequence[str] | None,
    device: str,
    only: Sequence[str] | None,
    tasks: int | None,
    train_only: bool,
    keep_going: bool,
) -> list[str]:
    """The command line, with options that are not the default after the specs."""
    command = ["bench", *map(str, specs)]
    if out != RESULTS:
        command.append(f"--out={out}")
    command += [f"--root={pair}" for pair in root or ()]
    if device != "cpu":
        command.append(f"--device={device}")
    command += [f"--only={name}" for name in only or ()]
    if tasks is not None:
        command.append(f"--tasks={tasks}")
    if train_only:
        command.append("--train-only")
    if keep_going:
        command.append("--keep-going")
    return command


def _parse_roots(pairs: Sequence[str]) -> dict[str, str]:
    roots: dict[str, str] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise InvalidInputError(
                f"--root is {pair!r}; give NAME=FOLDER, such as omniglot=data/omniglot"
            )
        if name not in DATASETS:
            known = ", ".join(DATASETS)
            raise InvalidInputError(f"--root names the data set {name!r}; expected one of: {known}")
        roots[name] = folder
    return roots


def _load_specs(paths: Sequence[Path]) -> list[AnyBenchmark]:
    from graphfew.benchmark import load_spec

    if not paths:
        existing = ", ".join(path.as_posix() for path in sorted(SPECS.glob("*.toml")))
        hint = f"such as {existing}" if existing else "TOML files"
        raise InvalidInputError(f"give one or more specs, {hint}")
    specs = [load_spec(path) for path in paths]
    by_name: dict[str, Path] = {}
    for spec in specs:
        if spec.name in by_name:
            raise InvalidInputError(
                f"{by_name[spec.name]} and {spec.path} have the same name {spec.name!r} and would "
                "write the same results file; give each spec once, with its own name"
            )
        by_name[spec.name] = spec.path
    return specs


def _display(shown: Console) -> ProgressDisplay:
    from graphfew.benchmark import ProgressDisplay

    return ProgressDisplay(
        info=lambda text: shown.print(text, highlight=False, markup=False, soft_wrap=True),
        warn=lambda text: typer.echo(f"warning: {text}", err=True),
        training=lambda schedule, start: console.training_display(shown, schedule, start),
        evaluation=lambda total: console.counter_display(shown, total),
    )


def _print_status(specs: Sequence[AnyBenchmark], options: RunOptions, shown: Console) -> None:
    from graphfew.benchmark import plan_run, run_status

    for spec in specs:
        plan = plan_run(spec, options, _display(shown).warn)
        trainings, rows = run_status(plan, options)
        if trainings:
            title = f"{spec.name}: trainings"
            shown.print(_status_table(title, "steps", trainings, timed=True))
        shown.print(_status_table(f"{spec.name}: rows", "experiments", rows, timed=False))


def _status_table(title: str, unit: str, jobs: Sequence[JobStatus], *, timed: bool) -> Table:
    table = Table(title=title)
    for number, name in enumerate(["name", f"{unit} done", unit, "state"]):
        table.add_column(name, justify="right" if number in (1, 2) else "left")
    if timed:
        table.add_column("seconds per step", justify="right")
    for job in jobs:
        state = "started" if job.done else "to do"
        if job.done >= job.total:
            state = "done"
        cells = [job.name, str(job.done), str(job.total), state]
        if timed:
            cells.append("" if job.seconds_per_step is None else f"{job.seconds_per_step:.3g}")
        table.add_row(*cells)
    return table
