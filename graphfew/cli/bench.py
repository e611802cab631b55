"""`graphfew bench`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from graphfew.benchmark import (
    AnySpec,
    Options,
    Screen,
    Standing,
    Stopped,
    plan,
    read_spec,
    run,
    survey,
)
from graphfew.cli import console
from graphfew.cli.error_handling import FAILED, INTERRUPTED, interruptible, one_line_errors
from graphfew.data import DATASETS
from graphfew.runs.evaluation import portable_command

SPECS = Path("benchmarks/specs")
RESULTS = Path("benchmarks/results")


def bench(
    specs: Annotated[
        list[Path] | None, typer.Argument(metavar="SPEC...", help="TOML files.", show_default=False)
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The folder of results; trainings lie in its runs/.")
    ] = RESULTS,
    root: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="The folder of a data set.")
    ] = None,
    device: Annotated[str, typer.Option()] = "cpu",
    only: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="Only this row; give several for more.")
    ] = None,
    tasks: Annotated[
        int | None,
        typer.Option(
            help="At most so many tasks in each cell, for a smaller try.",
            show_default="as the spec says",
        ),
    ] = None,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="Train, and evaluate nothing.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show what there is to do and what is done; run nothing.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Tell of what fails, and go on with the rest.")
    ] = False,
) -> None:
    """Run benchmarks: the trainings that they need, then every figure that is not there yet.

    Each figure is a line of OUT/NAME.jsonl, written when it is done. What is finished is skipped, so the same command
    goes on with a run that was stopped.
    """
    again = _command(specs or [], out, root, device, only, tasks, train_only, keep_going)
    with one_line_errors():
        if tasks is not None and tasks < 2:
            raise ValueError(f"--tasks is {tasks}; an interval needs at least 2")
        options = Options(
            out,
            _roots(root or []),
            device,
            tuple(only or ()),
            tasks,
            train_only,
            keep_going,
            portable_command(again),
        )
        read = _read(specs or [])
        shown = console.stdout_console()
        if list_:
            _list(read, options, shown)
            return
        with interruptible() as stop:
            try:
                failed = run(read, options, _screen(shown), stop)
            except Stopped as stopped:
                typer.echo(
                    f"S{str(stopped)[1:]}; go on with: {shlex.join(['graphfew', *again])}", err=True
                )
                raise typer.Exit(INTERRUPTED) from stopped
    if failed:
        typer.echo(
            f"error: {failed} specs, trainings or cells failed; the others are done", err=True
        )
        raise typer.Exit(FAILED)


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
    """The command as it would be typed, options that are not the default after the specs."""
    given = ["bench", *map(str, specs)]
    given += [f"--out={out}"] * (out != RESULTS)
    given += [f"--root={pair}" for pair in root or ()] + [f"--device={device}"] * (device != "cpu")
    given += [f"--only={name}" for name in only or ()] + [f"--tasks={tasks}"] * (tasks is not None)
    return given + ["--train-only"] * train_only + ["--keep-going"] * keep_going


def _roots(pairs: Sequence[str]) -> dict[str, str]:
    roots: dict[str, str] = {}
    for pair in pairs:
        name, equals, place = pair.partition("=")
        if not (name and equals and place):
            raise ValueError(
                f"--root is {pair!r}; give NAME=FOLDER, such as omniglot=data/omniglot"
            )
        if name not in DATASETS:
            raise ValueError(f"--root names the data set {name!r}; known: {', '.join(DATASETS)}")
        roots[name] = place
    return roots


def _read(paths: Sequence[Path]) -> list[AnySpec]:
    if not paths:
        there = [path.as_posix() for path in sorted(SPECS.glob("*.toml"))]
        raise ValueError(
            "give one or more specs"
            + (f"; there are {', '.join(there)}" if there else ", TOML files")
        )
    specs = [read_spec(path) for path in paths]
    named: dict[str, Path] = {}
    for spec in specs:
        if spec.name in named:
            raise ValueError(
                f"{named[spec.name]} and {spec.path} are both called {spec.name!r} and would write one "
                "results file; give each its own name, and each spec once"
            )
        named[spec.name] = spec.path
    return specs


def _screen(shown: Console) -> Screen:
    return Screen(
        say=lambda text: shown.print(text, highlight=False, markup=False, soft_wrap=True),
        warn=lambda text: typer.echo(f"warning: {text}", err=True),
        training=lambda schedule, start: console.training_display(shown, schedule, start),
        counting=lambda total: console.counter_display(shown, total),
    )


def _list(specs: Sequence[AnySpec], options: Options, shown: Console) -> None:
    for spec in specs:
        left = plan(spec, options, _screen(shown).warn)
        trainings, rows = survey(left, options)
        if trainings:
            shown.print(_table(f"{spec.name}: trainings", "steps", trainings, timed=True))
        shown.print(_table(f"{spec.name}: rows", "figures", rows, timed=False))


def _table(title: str, what: str, standings: Sequence[Standing], *, timed: bool) -> Table:
    table = Table(title=title)
    for number, name in enumerate(
        ["name", f"{what} done", what, "state", *(["seconds per step"] if timed else [])]
    ):
        table.add_column(name, justify="right" if number in (1, 2, 4) else "left")
    for one in standings:
        state = "done" if one.done >= one.total else "begun" if one.done else "to do"
        speed = "" if one.seconds is None else f"{one.seconds:.3g}"
        table.add_row(one.what, str(one.done), str(one.total), state, *([speed] if timed else []))
    return table
