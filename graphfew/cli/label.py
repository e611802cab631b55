"""The command `graphfew label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphfew.cli._options import with_parameters
from graphfew.cli._source_options import source_options, source_parameters
from graphfew.cli.error_handling import one_line_errors, stop_on_interrupt

FOLDER_PANEL, MODEL_PANEL, FILE_PANEL = "Folders of images", "Model", "Files to write"
CLUSTER_PANEL = "More than one machine"


@with_parameters(source_parameters())
def label(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of class folders with images; a table (.csv, .tsv, .txt, .jsonl, .json, also .gz, "
            "or .parquet) of texts, image paths or features; an .npz or .npy; or a folder of .parquet files."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="The table to write: .csv, .parquet or .jsonl; of a folder of .parquet files, a folder.",
            rich_help_panel=FILE_PANEL,
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(
            help="auto: an ensemble that suits data of many kinds; or a method that uses unlabeled "
            "items (see `graphfew methods`). A method with trained layers needs a --checkpoint of it.",
            show_default="auto",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An argument of the method.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    from_checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="A checkpoint of `graphfew train`, whose encoder computes the features of images, or the "
            "name of a pretrained one.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Computes features of texts and images: tfidf, hog, pixels, sentence-transformers:NAME, "
            "transformers:NAME, timm:NAME or checkpoint:NAME.",
            show_default="tfidf for texts, hog for images",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    unknown_threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Similarity to its class below which an item is unknown. auto refuses about 5 % of the members "
            "of the classes, and needs the method auto.",
            show_default="all items are labeled",
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            help="A table with the columns item and label: these labels replace given and predicted ones. Of "
            "a table that this command wrote, only rows with given = true count."
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="A .png plot of the items.", rich_help_panel=FILE_PANEL),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="An .html page: counts, the least confident items, items unlike every class, possible label "
            "errors, and what to label next.",
            rich_help_panel=FILE_PANEL,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace existing files.", rich_help_panel=FILE_PANEL),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With the encoder pixels: resize images to squares of this many pixels.",
            show_default="32, or the size of the checkpoint",
            rich_help_panel=FOLDER_PANEL,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Label a folder of .parquet files on the workers of this Dask scheduler, such as "
            "tcp://10.0.0.1:8786.",
            show_default="workers on this machine",
            rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None,
    **options: Any,
) -> None:
    """Label items from a few labels per class, using all unlabeled items together.

    The table has a row per item: its label, the confidence (probability of that class), the similarity to that class,
    the second most probable class, and whether the label was given. An out-of-distribution item has a low similarity.
    """
    # scikit-learn takes seconds to import; the other commands need not wait.
    from graphfew.cli.label_folder_run import is_parquet_folder, run_label_folder
    from graphfew.cli.label_run import LabelRequest, run_label
    from graphfew.estimators.auto.predictor import AUTO

    is_folder = scheduler is not None or is_parquet_folder(source)
    stopped = "Stopped; nothing was written."
    if is_folder:
        stopped = "Stopped; complete files are kept, and the same command continues."
    with one_line_errors(), stop_on_interrupt(stopped):
        request = LabelRequest(
            source=source,
            out=out,
            method=method or AUTO,
            arguments=tuple(set_ or ()),
            from_checkpoint=from_checkpoint,
            encoder=encoder,
            unknown_threshold=unknown_threshold,
            corrections=corrections,
            picture=picture,
            report=report,
            overwrite=overwrite,
            size=size,
            # Corrections may be the only labels.
            options=source_options(options, require_labels=corrections is None),
        )
        if is_folder:
            run_label_folder(request, scheduler)
        else:
            run_label(request)
