"""The command line: `graphfew train`, `evaluate`, `bench`, `report`, `label`, `methods`, `data`, `demo`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from graphfew.cli.bench import bench
from graphfew.cli.demos.command import demo
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


for command in (train, evaluate, bench, report, label, methods, data, demo):
    app.command()(command)
