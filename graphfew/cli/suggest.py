"""The command `graphfew suggest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphfew.cli._options import with_parameters
from graphfew.cli._source_options import source_options, source_parameters
from graphfew.cli.error_handling import one_line_errors, stop_on_interrupt


@with_parameters(source_parameters())
def suggest(
    source: Annotated[
        Path,
        typer.Argument(
            help="As for `graphfew label`: a folder of images, or a table of texts, image paths or features. "
            "No item needs a label."
        ),
    ],
    n: Annotated[
        int, typer.Option("--number", "-n", min=1, help="Number of items to suggest.")
    ] = 20,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A .csv to write, with the columns item and label, and the text of texts. Fill in the labels, and "
            "pass it as --corrections, here and to `graphfew label`.",
            show_default="the items are only printed",
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="recommended, typical, coverage, margin, entropy, vopt, sigma-optimality, model-change, mc-vopt or "
            "random."
        ),
    ] = "recommended",
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Computes features of texts and images, see `graphfew label`.",
            show_default="tfidf for texts, hog for images",
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            help="A table with the columns item and label: labels that were given since, such as in the table of an "
            "earlier --out."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the strategy.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
    **options: Any,
) -> None:
    """Suggest the items to label next, with or without labels so far.

    The first item is the best one to label. Items that are nearly equal are not suggested together.
    """
    # scikit-learn takes seconds to import; the other commands need not wait.
    from graphfew.cli.suggest_run import SuggestRequest, run_suggest

    with one_line_errors(), stop_on_interrupt("Stopped; nothing was written."):
        request = SuggestRequest(
            source=source,
            n=n,
            out=out,
            strategy=strategy,
            encoder=encoder,
            corrections=corrections,
            seed=seed,
            overwrite=overwrite,
            options=source_options(options, require_labels=False),
        )
        run_suggest(request)
