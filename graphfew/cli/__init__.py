"""The command line: `graphfew train`, `evaluate`, `bench`, `report`, `label`, `methods`, `data`, `demo`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from graphfew.cli.bench import bench
from graphfew.cli.error_handling import one_line
from graphfew.cli.evaluate import evaluate
from graphfew.cli.label import label
from graphfew.cli.listing import data, methods
from graphfew.cli.report import report
from graphfew.cli.train import train

app = typer.Typer(
    name="graphfew",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Few-shot learning as a graph problem.",
)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"graphfew {version('graphfew')}")
        raise typer.Exit
    return wanted


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    """Few-shot learning as a graph problem."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder for what it writes.")] = Path("demo"),
    seed: Annotated[int, typer.Option()] = 0,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A few steps and tasks, in seconds: whether it runs; the figures mean nothing.",
        ),
    ] = False,
) -> None:
    """Train and test five methods on glyphs that need no download, in minutes."""
    from graphfew.cli.run_demo import QUICK, run  # matplotlib takes a second to import

    with one_line():
        run(out, seed, *([QUICK] if quick else []))


for command in (train, evaluate, bench, report, label, methods, data):
    app.command()(command)
