"""The command line: `graphfew train`, `evaluate`, `label`, `suggest`, `bench`, `report` and others."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from graphfew.cli.annotate import annotate
from graphfew.cli.bench import bench
from graphfew.cli.demos.command import demo
from graphfew.cli.evaluate import evaluate
from graphfew.cli.label import label
from graphfew.cli.listing import data, methods
from graphfew.cli.report import report
from graphfew.cli.suggest import suggest
from graphfew.cli.train import train

app = typer.Typer(
    name="graphfew",
    no_args_is_help=True,
    add_completion=False,
    # Bugs keep Python's plain traceback; typer's shows local variables, such as whole tensors.
    pretty_exceptions_enable=False,
    help="Few-shot learning as a graph problem.",
)


def _show_version(requested: bool) -> bool:
    """Print the version and exit, if requested."""
    if requested:
        typer.echo(f"graphfew {version('graphfew')}")
        raise typer.Exit
    return requested


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Few-shot learning as a graph problem."""


# This is the order of `graphfew --help`.
for command in (train, evaluate, bench, report, label, suggest, annotate, methods, data, demo):
    app.command()(command)
