"""The command `graphfew demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphfew.cli.error_handling import one_line_errors, stop_on_interrupt


def demo(
    out: Annotated[Path, typer.Option(help="Folder for results and pictures.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of draws, training and tasks.")] = 0,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Check in seconds that it runs; the results mean nothing."),
    ] = False,
    full: Annotated[
        bool,
        typer.Option("--full", help="Train the encoder, EGNN and GNN from scratch; 10 minutes."),
    ] = False,
) -> None:
    """Label items from one label per class, and compare EGNN with prototypes on unseen scripts.

    Takes about a minute, downloads nothing, and writes tables and pictures.
    """
    # matplotlib and scikit-learn take seconds to import; the other commands need not wait.
    from graphfew.cli.demos import full_demo, short_demo

    stopped = (
        f"Interrupted: no results were written to {out}. Run the command again to start over; "
        "images that were drawn are cached."
    )
    with one_line_errors(), stop_on_interrupt(stopped):
        if full:
            full_demo.run_full_demo(out, seed, full_demo.QUICK_FULL if quick else None)
        else:
            short_demo.run_demo(out, seed, short_demo.QUICK if quick else None)
