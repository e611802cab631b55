"""Suggestions of items of a source, for the command `graphfew suggest`."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.atomic_io import atomic_replace
from graphfew.cli import console
from graphfew.cli._label_checks import check_targets
from graphfew.cli._source_items import choose_encoder, encode_source, problem_lines
from graphfew.data.label_marks import suggest_option
from graphfew.encoders import find_encoder
from graphfew.labeling.active import find_strategy, suggest
from graphfew.labeling.corrections import (
    ITEM_COLUMN,
    LABEL_COLUMN,
    correct_labels,
    read_corrections,
)
from graphfew.labeling.label_sources import LabelSource, check_source, read_source
from graphfew.labeling.source_options import SourceOptions

TEXT_COLUMN = "text"
# Longer texts are cut on the screen, not in the table.
MAX_TEXT = 100


@dataclasses.dataclass(frozen=True)
class SuggestRequest:
    """The options of `graphfew suggest`, as they were given.

    Attributes:
        source: folder of images, or file of items.
        n: number of items.
        out: the table to write; None prints only.
        strategy: name of a strategy.
        encoder: name of an encoder.
        corrections: a table of labels that replace others.
        seed: of the strategy.
        overwrite: whether an existing file is replaced.
        options: how the source is read.
    """

    source: Path
    n: int
    out: Path | None
    strategy: str
    encoder: str | None
    corrections: Path | None
    seed: int
    overwrite: bool
    options: SourceOptions


def run_suggest(request: SuggestRequest) -> None:
    """Check the options, suggest items, print them, and write the table."""
    # All checks that need no data come first: reading and encoding may take minutes.
    check_source(request.source)
    if request.out is not None:
        check_targets({request.out: (".csv",)}, request.source, overwrite=request.overwrite)
    strategy = find_strategy(request.strategy)
    encoder = None if request.encoder is None else find_encoder(request.encoder)
    corrected = None if request.corrections is None else read_corrections(request.corrections)
    source = read_source(request.source, request.options)
    if corrected is not None:
        source = correct_labels(source, corrected, request.options.unlabeled_marks, suggest_option)
    chosen_encoder = choose_encoder(source, encoder)
    features = encode_source(source, chosen_encoder, console.stdout_console())
    labels = [None if index < 0 else f"class {index}" for index in source.class_index]
    chosen = suggest(features, labels, request.n, strategy=strategy, seed=request.seed)
    if request.out is not None and len(chosen):
        with atomic_replace(request.out) as temporary:
            _write(source, chosen, temporary)
    _print(source, chosen, request)


def _write(source: LabelSource, chosen: NDArray[np.int64], path: Path) -> None:
    columns = [ITEM_COLUMN, LABEL_COLUMN]
    if source.kind == "text":
        columns.append(TEXT_COLUMN)
    with path.open("w", newline="", encoding="utf-8") as file:
        # csv ends lines with \r\n by default, on every system.
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for item in chosen.tolist():
            text = [source.items[item]] if source.kind == "text" else []
            writer.writerow([source.names[item], "", *text])


def _print(source: LabelSource, chosen: NDArray[np.int64], request: SuggestRequest) -> None:
    n_labeled = int((source.class_index >= 0).sum())
    lines = [f"{len(source)} items, {n_labeled} of them labeled."]
    lines += problem_lines(source)
    if not len(chosen):
        lines.append(
            "Every item has a label: there is nothing to suggest, and nothing was written."
        )
    elif len(chosen) < request.n:
        lines.append(f"Only {len(chosen)} items have no label, so no {request.n} can be suggested.")
    for item in chosen.tolist():
        text = ""
        if source.kind == "text":
            text = "  " + " ".join(str(source.items[item]).split())[:MAX_TEXT]
        lines.append(f"{source.names[item]}{text}")
    if request.out is not None and len(chosen):
        lines.append(
            f"Written: {request.out}. Fill in the column {LABEL_COLUMN}, and pass the file as --corrections."
        )
    console.print_lines(console.stdout_console(), lines)
