"""The command `graphfew annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphfew.cli._options import with_parameters
from graphfew.cli._source_options import source_options, source_parameters
from graphfew.cli.error_handling import one_line_errors, stop_on_interrupt


@with_parameters(source_parameters())
def annotate(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of images; a table (.csv, .tsv, .txt, .jsonl, .json, also .gz, or .parquet) of texts, "
            "image paths or features; or an .npz or .npy. Labels are not needed."
        ),
    ],
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Computes features of texts and images: tfidf, hog, pixels, sentence-transformers:NAME, "
            "transformers:NAME, timm:NAME or checkpoint:NAME.",
            show_default="tfidf for texts, hog for images",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            help="The file of all labels, to which each one is appended. An existing one is continued.",
            show_default="SOURCE.annotations.jsonl",
        ),
    ] = None,
    image_root: Annotated[
        Path | None,
        typer.Option(
            help="Only images in this folder are shown.",
            show_default="SOURCE, or the folder of the table",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any free one.")
    ] = 8421,
    check_every: Annotated[
        int,
        typer.Option(
            min=0,
            help="Draw every how many-th item at random, to estimate the accuracy; 0 for none.",
        ),
    ] = 5,
    **options: Any,
) -> None:
    """Label items by hand on a local page, which suggests the items and their likely classes.

    Open the printed address in a browser on this computer. Each label is saved at once, so that the command can be
    stopped, and continued, at any time. The page exports tables in the formats of `graphfew label`.
    """
    # scikit-learn and starlette take seconds to import; the other commands need not wait.
    from graphfew.cli.annotate_run import AnnotateRequest, run_annotate

    with one_line_errors(), stop_on_interrupt("Stopped."):
        request = AnnotateRequest(
            source=source,
            encoder=encoder,
            log=log,
            image_root=image_root,
            port=port,
            check_every=check_every,
            options=source_options(options, require_labels=False),
        )
        run_annotate(request)
