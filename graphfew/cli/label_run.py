"""Labeling the items of a file or folder, for the command `graphfew label`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew import backbones
from graphfew._utils.atomic_io import atomic_replace, check_writable
from graphfew._utils.model_spec import JSON
from graphfew.cli import console
from graphfew.cli._table_format import TableFormat
from graphfew.data.io.image_folder import (
    SUFFIXES,
    ImageFormat,
    ImageListing,
    check_sizes,
    list_images,
    read_image_format,
    read_images,
)
from graphfew.data.label_marks import suggest_option
from graphfew.data.partially_labeled import PartiallyLabeledItems
from graphfew.errors import ConfigurationError, MissingFileError
from graphfew.estimators.auto.predictor import AUTO
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.labeling.corrections import correct_labels, read_corrections
from graphfew.labeling.label_items import LabelTable, label_items, write_table
from graphfew.methods.registry import find_method
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.runs import parse_key_values, resolve_checkpoint
from graphfew.serialization import checkpoint

Array = NDArray[Any]
Progress = Callable[[int], None]
# Items that are encoded at a time.
BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class LabelRequest:
    """The options of `graphfew label`, as they were given.

    Attributes:
        source: folder of images, or file of features.
        out: the .csv table to write.
        method: `AUTO`, or the name of a method.
        arguments: of the method, each as `KEY=VALUE`.
        from_checkpoint: a checkpoint file, a run folder, or the name of a pretrained model.
        encoder: name of an encoder without training.
        unknown_threshold: a number, or `auto`; None labels all items.
        corrections: a .csv of labels that replace others.
        picture: the .png plot to write.
        overwrite: whether existing files are replaced.
        size: images are resized to squares of this many pixels.
        unlabeled_folder: the sub-folder of images without a label.
        unlabeled_mark: labels that mean that there is none.
        table_format: how a file of features is read.
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
    overwrite: bool
    size: int | None
    unlabeled_folder: str | None
    unlabeled_mark: list[str] | None
    table_format: TableFormat


def run_label(request: LabelRequest) -> None:
    """Check the options, label the items, and write the table and the picture."""
    # All checks that need no data come first: reading and encoding may take minutes.
    options = parse_key_values(list(request.arguments))
    _check_source(request.source, request.from_checkpoint, request.encoder)
    _check_target(request.out, ".csv", request.source, request.overwrite)
    if request.picture is not None:
        _check_target(request.picture, ".png", request.source, request.overwrite)
    model = None
    if request.from_checkpoint is not None:
        model = checkpoint.load(resolve_checkpoint(request.from_checkpoint))
    classifier = _classifier(request.method, options, model, request.from_checkpoint)
    threshold = _parse_threshold(request.unknown_threshold, request.method)
    corrected = None if request.corrections is None else read_corrections(request.corrections)
    items = _read_items(request, model, classifier)
    if corrected is not None:
        items = correct_labels(items, corrected, request.unlabeled_mark, suggest_option)
    _label_and_write(items, classifier, model, threshold, request.out, request.picture)


def _read_items(
    request: LabelRequest, model: GraphMethod | None, classifier: FewShotClassifier
) -> PartiallyLabeledItems:
    if request.source.is_dir():
        listing = list_images(
            request.source, request.unlabeled_folder, request.unlabeled_mark, suggest_option
        )
        return _read_folder(listing, model, request.size, classifier)
    items = request.table_format.read(request.source, request.unlabeled_mark)
    _check_width(items, model)
    return items


def _label_and_write(
    items: PartiallyLabeledItems,
    classifier: FewShotClassifier,
    model: GraphMethod | None,
    threshold: float | Literal["auto"] | None,
    out: Path,
    picture: Path | None,
) -> None:
    screen = console.stdout_console()
    with console.counter_display(screen, len(items)) as progress:
        features = _encode(items.x, model, lambda done: progress("encoding", done))
    # The classifier of a checkpoint encodes the items itself.
    inputs = features if isinstance(classifier.method, str) else _to_float(items.x)
    table = label_items(items, inputs, classifier, threshold)
    files = [out]
    # Both files are put in place together, after both have been written.
    with ExitStack() as stack:
        write_table(table, stack.enter_context(atomic_replace(out)))
        if picture is not None:
            _save_picture(table, features, stack.enter_context(atomic_replace(picture)))
            files.append(picture)
    for line in _summary(table, files):
        # Class names and paths may look like rich's markup, and a long path must not be broken.
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def _summary(table: LabelTable, files: list[Path]) -> list[str]:
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
    return [*lines, written]


def _read_folder(
    listing: ImageListing,
    model: GraphMethod | None,
    size: int | None,
    classifier: FewShotClassifier,
) -> PartiallyLabeledItems:
    screen = console.stdout_console()
    # Each image is opened twice: once to check its format, once to read its pixels.
    with console.counter_display(screen, 2 * len(listing.paths)) as progress:
        seen = read_image_format(listing, lambda done: progress("checking images", done))
        channels, side = _image_format(listing, seen, model, size)
        width, height = (side, side) if side else seen.sizes[0]
        shape = (channels, height, width)
        _check_fit(classifier, listing, model, shape)
        items = read_images(
            listing,
            channels,
            side,
            lambda done: progress("reading images", len(listing.paths) + done),
        )
    if listing.n_skipped:
        screen.print(
            f"{listing.n_skipped} files were skipped: not {', '.join(SUFFIXES)}.", highlight=False
        )
    return items


def _image_format(
    listing: ImageListing, seen: ImageFormat, model: GraphMethod | None, size: int | None
) -> tuple[int, int | None]:
    """Number of channels and size in pixels with which images are read."""
    if model is None:
        if size is None:
            check_sizes(listing, seen.sizes)
        return 3 if seen.colored else 1, size
    name, arguments = _encoder_spec(model)
    channels, side = arguments.get("in_channels"), arguments.get("size")
    if channels not in (1, 3) or not isinstance(side, int):
        raise ConfigurationError(
            f"the checkpoint's encoder, {name}, does not accept images; give a checkpoint "
            "of one that does, such as conv4"
        )
    if size not in (None, side):
        raise ConfigurationError(
            f"the checkpoint's encoder takes images of {side} pixels and --size is {size}; omit "
            "--size"
        )
    return int(channels), side


def _check_fit(
    classifier: FewShotClassifier,
    listing: ImageListing,
    model: GraphMethod | None,
    shape: tuple[int, ...],
) -> None:
    """Raise the errors of a fit before the images are read: fit to made-up items of each class."""
    n_classes = len(set(listing.labels) - {None})
    # Cosines: distinct items without a random generator.
    values = np.cos(np.arange((n_classes + 1) * np.prod(shape)))
    items: Array = values.reshape(n_classes + 1, *shape).astype(np.float32)
    if isinstance(classifier.method, str):
        items = _encode(items, model, lambda done: None)
    trial = FewShotClassifier(classifier.method, arguments=classifier.arguments)
    # The last item is unlabeled, which the method must accept too.
    trial.fit(items, [*range(n_classes), -1])


def _encode(x: Array, model: GraphMethod | None, progress: Progress) -> Array:
    """`[n, F]` features by the model's encoder; without a model, the flattened items."""
    if model is None:
        return _to_float(x).reshape(len(x), -1)
    features = []
    with eval_mode(model):
        for start in range(0, len(x), BATCH_SIZE):
            # Tables may be float64, while the weights of encoders are float32.
            batch = torch.from_numpy(_to_float(x[start : start + BATCH_SIZE]))
            features.append(model.encoder(batch.to(torch.float32)).numpy())
            progress(min(start + BATCH_SIZE, len(x)))
    return np.concatenate(features)


def _to_float(x: Array) -> Array:
    """Images scaled to `[0, 1]`; features unchanged."""
    if x.dtype != np.uint8:
        return x
    # `x / 255` would allocate a float64 copy of all images, twice the size of this one.
    scaled: Array = np.true_divide(x, np.float32(255), dtype=np.float32)
    return scaled


def _save_picture(table: LabelTable, features: Array, path: Path) -> None:
    # Imported here because matplotlib takes a second to import.
    from graphfew.labeling.map_plot import plot_label_map

    # `format` is needed because the path is a temporary one that does not end in .png.
    plot_label_map(table, features).savefig(path, format="png", dpi=110)


def _parse_threshold(text: str | None, method: str) -> float | Literal["auto"] | None:
    """Parse the option --unknown-threshold."""
    if text is None:
        return None
    if text == "auto":
        if method != AUTO:
            raise ConfigurationError(
                f"--unknown-threshold auto needs the method auto, and the method is {method}; give a number"
            )
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--unknown-threshold {text} is not a number; give a similarity such as 0.5, or auto"
        ) from error


def _classifier(
    method: str,
    options: Mapping[str, JSON],
    model: GraphMethod | None,
    from_checkpoint: Path | None,
) -> FewShotClassifier:
    """A classifier on features for a method without training, or the checkpoint's own on raw items."""
    if method == AUTO:
        if options:
            raise ConfigurationError(
                f"--set {next(iter(options))}: the method auto has no arguments; omit --set, or name a --method"
            )
        return FewShotClassifier(method)
    spec = find_method(method)
    if not spec.needs_training or (spec.works_untrained and model is None):
        if not spec.unlabeled:
            raise ConfigurationError(
                f"{method} does not use unlabeled items; use a method that does, such as "
                "label_propagation (`graphfew methods` lists them)"
            )
        return FewShotClassifier(method, arguments=dict(options))
    if model is None or from_checkpoint is None:
        raise ConfigurationError(
            f"{method} must be trained first: give a --checkpoint of {method}, or a --method that needs no "
            "training, such as auto"
        )
    saved_method = "a custom model" if model.spec is None else model.spec.name
    if saved_method != method:
        raise ConfigurationError(
            f"the checkpoint is of {saved_method}, not {method}; omit --method to use its encoder with "
            "the method auto, or give its method"
        )
    if not (spec.unlabeled and spec.transductive):
        raise ConfigurationError(
            f"{method} cannot label items together; omit --method to use the checkpoint's encoder with "
            "the method auto"
        )
    if options:
        raise ConfigurationError(
            f"--set {next(iter(options))}: the arguments of {method} are those of the checkpoint; omit --set"
        )
    return FewShotClassifier(resolve_checkpoint(from_checkpoint))


def _encoder_spec(model: GraphMethod) -> tuple[str, Mapping[str, JSON]]:
    """Name and arguments of a checkpoint's encoder, or of the innermost one inside wrappers."""
    spec = getattr(model.encoder, "spec", None)
    if spec is None:
        return "a custom encoder", {}
    name, arguments = spec.name, spec.arguments
    while True:
        # concat has a list of encoders, which take the same images; other wrappers have one.
        inner = (arguments.get("encoders") or [arguments.get("encoder")])[0]
        if not isinstance(inner, Mapping):
            return name, arguments
        name, arguments = inner["name"], inner["arguments"]


def _check_width(items: PartiallyLabeledItems, model: GraphMethod | None) -> None:
    if model is None:
        return
    name, arguments = _encoder_spec(model)
    if name != backbones.identity.__name__ or arguments.get("dim") != items.x.shape[1]:
        accepted = "items other than features"
        if "dim" in arguments:
            accepted = f"{arguments['dim']} features"
        raise ConfigurationError(
            f"the table has {items.x.shape[1]} features and the checkpoint's encoder, {name}, takes "
            f"{accepted}; omit --checkpoint, or give a matching one"
        )


def _check_source(source: Path, from_checkpoint: Path | None, encoder: str | None) -> None:
    if not source.exists():
        raise MissingFileError(
            f"there is no {source}; give a folder of class folders with images, or a .csv, .npz or "
            ".parquet of features"
        )
    if not source.is_dir() and source.suffix.lower() not in (".csv", ".npz", ".parquet"):
        raise ConfigurationError(
            f"{source} is neither a folder nor a .csv, .npz or .parquet; give one of these"
        )
    if encoder not in (None, "identity"):
        raise ConfigurationError(
            f"--encoder is {encoder!r}; only identity needs no training; for another one give "
            "--checkpoint"
        )
    if encoder is not None and from_checkpoint is not None:
        raise ConfigurationError(
            "--encoder and --checkpoint are both given, but a checkpoint has its encoder; omit one"
        )
    if source.is_dir() and encoder is None and from_checkpoint is None:
        raise ConfigurationError(
            "images need an encoder: give --checkpoint (a file, a run folder, or the name of a pretrained "
            "model), or --encoder identity for raw pixels, with --size if the images differ in size"
        )


def _check_target(path: Path, suffix: str, source: Path, overwrite: bool) -> None:
    """Raise if a file cannot or must not be written there."""
    if path.suffix.lower() != suffix:
        raise ConfigurationError(f"{path} does not end in {suffix}; give a name that does")
    # Resolved, so that a link or `..` cannot hide that both are the same file.
    if path.resolve() == source.resolve():
        raise ConfigurationError(f"{path} is the source itself; give another name")
    if suffix in SUFFIXES and source.resolve() in path.resolve().parents:
        raise ConfigurationError(
            f"{path} is in {source}, where it would count as an item; give a path outside"
        )
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; give a file")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; give another name, or --overwrite to replace it")
    check_writable(path)
