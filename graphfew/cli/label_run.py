"""Labeling the items of a source, for the command `graphfew label`."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.atomic_io import atomic_replace
from graphfew.cli import console
from graphfew.cli._checkpoint_items import encode_by_model, image_format, model_inputs, to_float
from graphfew.cli._label_checks import (
    PIXELS,
    build_classifier,
    check_encoder,
    check_targets,
    parse_threshold,
)
from graphfew.cli._source_items import choose_encoder, encode_source, read_reported_source
from graphfew.data.label_marks import suggest_option
from graphfew.encoders import ItemEncoder, find_encoder, pixels_encoder
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.labeling.corrections import correct_labels, read_corrections
from graphfew.labeling.label_files import LABEL_SUFFIXES, check_label_suffix, write_table
from graphfew.labeling.label_sources import LabelSource, check_source, require_classes
from graphfew.labeling.label_table import LabelTable, label_items
from graphfew.labeling.report_page import write_report
from graphfew.labeling.source_options import SourceOptions
from graphfew.nn.method import GraphMethod
from graphfew.runs import parse_key_values, resolve_checkpoint
from graphfew.serialization import checkpoint

Array = NDArray[Any]
# Any number of features will do for a trial of a method.
_N_TRIAL_FEATURES = 16


@dataclasses.dataclass(frozen=True)
class LabelRequest:
    """The options of `graphfew label`, as they were given.

    Attributes:
        source: folder of images, or file of items.
        out: the table to write.
        method: `AUTO`, or the name of a method.
        arguments: of the method, each as `KEY=VALUE`.
        from_checkpoint: a checkpoint file, a run folder, or the name of a pretrained model.
        encoder: name of an encoder.
        unknown_threshold: a number, or `auto`; None labels all items.
        corrections: a table of labels that replace others.
        picture: the .png plot to write.
        report: the .html page to write.
        overwrite: whether existing files are replaced.
        size: images are resized to squares of this many pixels.
        options: how the source is read.
    """

    source: Path
    out: Path
    method: str
    arguments: tuple[str, ...]
    from_checkpoint: Path | None
    encoder: str | None
    unknown_threshold: str | None
    corrections: Path | None
    picture: Path | None
    report: Path | None
    overwrite: bool
    size: int | None
    options: SourceOptions


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """Items as features, and as the classifier takes them."""

    features: Array
    inputs: Array
    encoder: str


def run_label(request: LabelRequest) -> None:
    """Check the options, label the items, and write the table, the picture and the report."""
    # All checks that need no data come first: reading and encoding may take minutes.
    arguments = parse_key_values(list(request.arguments))
    check_source(request.source)
    targets: dict[Path, tuple[str, ...]] = {request.out: LABEL_SUFFIXES}
    for path, suffix in ((request.picture, ".png"), (request.report, ".html")):
        if path is not None:
            targets[path] = (suffix,)
    check_targets(targets, request.source, overwrite=request.overwrite)
    check_label_suffix(request.out.suffix.lower())
    check_encoder(request.encoder, request.from_checkpoint, request.size)
    model = None
    if request.from_checkpoint is not None:
        model = checkpoint.load(resolve_checkpoint(request.from_checkpoint))
    classifier = build_classifier(request.method, arguments, model, request.from_checkpoint)
    threshold = parse_threshold(request.unknown_threshold, request.method)
    encoder = None if request.encoder is None else _find_encoder(request.encoder, request.size)
    corrected = None if request.corrections is None else read_corrections(request.corrections)
    source = read_reported_source(request.source, request.options, console.stdout_console())
    if corrected is not None:
        marks = request.options.unlabeled_marks
        source = correct_labels(source, corrected, marks, suggest_option)
        require_classes(source)
    encoded = _encode(source, model, encoder, classifier, request.size)
    table = label_items(source, encoded.inputs, classifier, threshold)
    _write(request, table, encoded)


def _find_encoder(name: str, size: int | None) -> ItemEncoder:
    if name == PIXELS and size is not None:
        return pixels_encoder(size)
    return find_encoder(name)


def _encode(
    source: LabelSource,
    model: GraphMethod | None,
    encoder: ItemEncoder | None,
    classifier: FewShotClassifier,
    size: int | None,
) -> _Inputs:
    screen = console.stdout_console()
    if model is None:
        chosen = choose_encoder(source, encoder)
        if chosen is not None:
            _check_fit(classifier, source, None, (_N_TRIAL_FEATURES,))
        x = encode_source(source, chosen, screen)
        return _Inputs(x, x, "" if chosen is None else chosen.name)
    if source.kind == "image":
        channels, side = image_format(model, size)
        _check_fit(classifier, source, model, (channels, side, side))
    with console.counter_display(screen, len(source)) as progress:
        x = model_inputs(source, model, size, lambda done: progress("reading", done))
        features = encode_by_model(x, model, lambda done: progress("encoding", done))
    # The classifier of a checkpoint encodes the items itself.
    inputs = features if isinstance(classifier.method, str) else to_float(x)
    return _Inputs(features, inputs, "the checkpoint's")


def _check_fit(
    classifier: FewShotClassifier,
    source: LabelSource,
    model: GraphMethod | None,
    shape: tuple[int, ...],
) -> None:
    """Raise the errors of a fit before items are encoded: fit to made-up items of each class."""
    n_classes = len(source.classes)
    # Cosines: distinct items without a random generator.
    values = np.cos(np.arange((n_classes + 1) * np.prod(shape)))
    items: Array = values.reshape(n_classes + 1, *shape).astype(np.float32)
    if model is not None and isinstance(classifier.method, str):
        items = encode_by_model(items, model, lambda done: None)
    trial = FewShotClassifier(classifier.method, arguments=classifier.arguments)
    # The last item is unlabeled, which the method must accept too.
    trial.fit(items, [*range(n_classes), -1])


def _write(request: LabelRequest, table: LabelTable, encoded: _Inputs) -> None:
    files = [request.out]
    # All files are put in place together, after all have been written.
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_replace(request.out))
        write_table(table, temporary, request.out.suffix.lower())
        if request.picture is not None:
            _save_picture(
                table, encoded.features, stack.enter_context(atomic_replace(request.picture))
            )
            files.append(request.picture)
        if request.report is not None:
            temporary = stack.enter_context(atomic_replace(request.report))
            write_report(table, encoded.features, temporary, encoded.encoder)
            files.append(request.report)
    console.print_lines(console.stdout_console(), _summary(table, encoded.encoder, files))


def _summary(table: LabelTable, encoder: str, files: list[Path]) -> list[str]:
    items, n_given, is_predicted = table.items, int(table.is_given.sum()), table.is_predicted
    counts = f"{len(items)} items of {len(items.classes)} classes: {n_given} labels were given"
    written = f"Written: {', '.join(map(str, files))}"
    if n_given == len(items):
        nothing = (
            "so there was nothing to label (leave a label empty, or give -1, if it is unknown)"
        )
        return [f"{counts}, one for every item, {nothing}.", written]
    n_predicted, n_unknown = int(is_predicted.sum()), int(table.is_unknown.sum())
    lines = [f"{counts}, {n_predicted} predicted, {n_unknown} unknown."]
    if n_predicted:
        confidence = table.confidence[is_predicted]
        n_low = int((confidence < 0.5).sum())
        lines.append(f"Mean confidence {confidence.mean():.3f}; {n_low} labels are below 0.5.")
    if encoder:
        lines.append(
            f"The features are those of the encoder {encoder} (--encoder chooses another)."
        )
    return [*lines, written]


def _save_picture(table: LabelTable, features: Array, path: Path) -> None:
    # Imported here because matplotlib takes a second to import.
    from graphfew.labeling.map_plot import plot_label_map

    # `format` is needed because the path is a temporary one that does not end in .png.
    plot_label_map(table, features).savefig(path, format="png", dpi=110)
