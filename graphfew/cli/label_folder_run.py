"""Labeling a folder of Parquet files on the workers of a cluster, for the command `graphfew label`."""

from __future__ import annotations

from pathlib import Path

from graphfew.cli import console
from graphfew.cli._label_checks import parse_threshold
from graphfew.cli.label_run import LabelRequest
from graphfew.dask import (
    FolderOptions,
    PartitionSummary,
    dask_client,
    label_parquet,
    list_partitions,
)
from graphfew.data.label_marks import suggest_option
from graphfew.errors import ConfigurationError


def is_parquet_folder(source: Path) -> bool:
    """Whether a source is a folder that contains Parquet files."""
    return source.is_dir() and any(source.glob("*.parquet"))


def run_label_folder(request: LabelRequest, scheduler: str | None) -> None:
    """Check the options, and label the items of each file.

    Args:
        request: the options of the command.
        scheduler: address of a Dask scheduler; None starts workers on this machine.

    Raises:
        ConfigurationError: the source is not a folder of Parquet files, or an option does not apply to it.
    """
    if not is_parquet_folder(request.source):
        raise ConfigurationError(
            f"--scheduler is for a folder of .parquet files, and {request.source} is not one; omit it, "
            "or give such a folder"
        )
    _check_unused(request)
    columns = request.options
    options = FolderOptions(
        method=request.method,
        features=tuple(columns.features_columns),
        item=columns.id_column,
        unlabeled_marks=None if columns.unlabeled_marks is None else tuple(columns.unlabeled_marks),
        unknown_threshold=parse_threshold(request.unknown_threshold, request.method),
        overwrite=request.overwrite,
    )
    screen = console.stdout_console()
    n_files = len(list_partitions(request.source))
    with (
        dask_client(scheduler) as client,
        console.counter_display(screen, n_files) as progress,
    ):
        summary = label_parquet(
            client,
            request.source,
            request.out,
            columns.label_column or "label",
            options,
            suggest=suggest_option,
            progress=lambda done: progress("labeling files", done),
        )
    console.print_lines(screen, [_summary(summary, request.out)])


def _check_unused(request: LabelRequest) -> None:
    """Raise if an option is given that does not apply to folders of Parquet files."""
    given = {
        "--set": request.arguments,
        "--checkpoint": request.from_checkpoint,
        "--encoder": request.encoder,
        "--corrections": request.corrections,
        "--picture": request.picture,
        "--report": request.report,
        "--size": request.size,
        "--text-column": request.options.text_columns,
        "--image-column": request.options.image_column,
    }
    for flag, value in given.items():
        if value:
            raise ConfigurationError(
                f"{flag} does not apply to a folder of Parquet files, which hold features; omit it"
            )


def _summary(summary: PartitionSummary, out: Path) -> str:
    skipped = ""
    if summary.n_skipped:
        skipped = f"; {summary.n_skipped} files of an earlier run were kept"
    return f"{summary.n_rows} items: {summary.n_written} files were written to {out}{skipped}."
