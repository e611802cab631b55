"""`graphfew label`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from graphfew import backbones
from graphfew._utils.atomic_io import atomic_replace
from graphfew._utils.model_spec import JSON
from graphfew.cli import console
from graphfew.cli.error_handling import INTERRUPTED, one_line_errors
from graphfew.data.io.image_folder import (
    SUFFIXES,
    ImageFormat,
    ImageListing,
    check_sizes,
    list_images,
    read_image_format,
    read_images,
)
from graphfew.data.io.tabular import read_csv, read_npz, read_parquet
from graphfew.data.partially_labeled import PartiallyLabeledItems
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.labeling.label_items import LabelTable, label_items, write_table
from graphfew.methods.registry import find_method
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.runs import parse_key_values, resolve_checkpoint
from graphfew.serialization import checkpoint

Array = NDArray[Any]
Show = Callable[[int], None]
FOLDER, TABLE, MODEL = "Folders of images", "Tables", "Model"
BATCH = 256


def label(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of class folders with images, or a .csv, .npz or .parquet of features."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The table to write, a .csv.")],
    method: Annotated[
        str,
        typer.Option(
            help="A method of `graphfew methods` that makes use of unlabeled nodes. One "
            "that is trained comes from a --checkpoint of it, with its encoder.",
            rich_help_panel=MODEL,
        ),
    ] = "pool_prototypes",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An argument of the method.", rich_help_panel=MODEL
        ),
    ] = None,
    from_checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="What `graphfew train` wrote: its encoder turns images into features.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="identity: images are their pixels.", rich_help_panel=MODEL)
    ] = None,
    unknown_threshold: Annotated[
        float | None,
        typer.Option(
            help="Similarity to its class below which an item is unknown.", show_default="none is"
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the items in a plane, a .png.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stretch images to a square of so many pixels.",
            show_default="as the checkpoint takes them",
            rich_help_panel=FOLDER,
        ),
    ] = None,
    unlabeled_folder: Annotated[
        str | None,
        typer.Option(
            help="The sub-folder of images without a label, beside those directly in SOURCE.",
            show_default="unlabeled",
            rich_help_panel=FOLDER,
        ),
    ] = None,
    label_column: Annotated[
        str, typer.Option(help="Class names, empty (or -1) where unknown.", rich_help_panel=TABLE)
    ] = "label",
    id_column: Annotated[
        str | None,
        typer.Option(
            help="Names of the items.", show_default="row numbers from 0", rich_help_panel=TABLE
        ),
    ] = None,
    features_key: Annotated[
        str, typer.Option(help="The array of features in an .npz.", rich_help_panel=TABLE)
    ] = "x",
    label_key: Annotated[
        str, typer.Option(help="The array of labels in an .npz.", rich_help_panel=TABLE)
    ] = "y",
) -> None:
    """Label a pile of items from a few labels per class, all of it together.

    The table has a row per item: its label, confidence (the share of that class), similarity (how much it is of the
    class at all), the second class, and whether the label was given. A rare item of no class has a low similarity.
    """
    with one_line_errors():
        options = parse_key_values(set_ or [])
        _check_source(source, from_checkpoint, encoder)
        _check_target(out, ".csv", source, overwrite)
        if picture is not None:
            _check_target(picture, ".png", source, overwrite)
        model = (
            None
            if from_checkpoint is None
            else checkpoint.load(resolve_checkpoint(from_checkpoint))
        )
        classifier = _classifier(method, options, model, from_checkpoint)
        readers: Mapping[str, Callable[[], PartiallyLabeledItems]] = {
            ".csv": lambda: read_csv(source, label_column, id_column),
            ".npz": lambda: read_npz(source, features_key, label_key),
            ".parquet": lambda: read_parquet(source, label_column, id_column),
        }
        try:
            if source.is_dir():
                pile = _read_folder(source, unlabeled_folder, model, size, classifier)
            else:
                pile = readers[source.suffix.lower()]()
                _check_width(pile, model)
            _finish(pile, classifier, model, unknown_threshold, out, picture)
        except KeyboardInterrupt as interrupt:
            typer.echo("Stopped; nothing was written.", err=True)
            raise typer.Exit(INTERRUPTED) from interrupt


def _finish(
    pile: PartiallyLabeledItems,
    classifier: FewShotClassifier,
    model: GraphMethod | None,
    threshold: float | None,
    out: Path,
    picture: Path | None,
) -> None:
    shown = console.stdout_console()
    with console.counter_display(shown, len(pile)) as show:
        features = _encoded(pile.x, model, lambda done: show("encoding", done))
    items = features if isinstance(classifier.method, str) else _floating(pile.x)
    labeling = label_items(pile, items, classifier, threshold)
    with ExitStack() as stack:
        write_table(labeling, stack.enter_context(atomic_replace(out)))
        if picture is not None:
            _draw(labeling, features, stack.enter_context(atomic_replace(picture)))
    for line in _summary(labeling, [out, *([picture] if picture else [])]):
        shown.print(line, highlight=False, markup=False, soft_wrap=True)


def _summary(labeling: LabelTable, files: list[Path]) -> list[str]:
    pile, given, answered = labeling.pile, int(labeling.given.sum()), labeling.answered
    counts = f"{len(pile)} items of {len(pile.classes)} classes: {given} labels were given"
    where = f"Written: {', '.join(map(str, files))}"
    if given == len(pile):
        return [
            f"{counts}, one for every item, so there was nothing to label (an empty label or -1 stands for an "
            "unknown one).",
            where,
        ]
    lines = [f"{counts}, {int(answered.sum())} found, {int(labeling.unknown.sum())} left unknown."]
    if answered.any():
        sure = labeling.confidence[answered]
        lines.append(
            f"Mean confidence {sure.mean():.3f}; {int((sure < 0.5).sum())} labels are below 0.5."
        )
    return [*lines, where]


def _read_folder(
    source: Path,
    unlabeled: str | None,
    model: GraphMethod | None,
    size: int | None,
    classifier: FewShotClassifier,
) -> PartiallyLabeledItems:
    listing = list_images(source, unlabeled)
    shown = console.stdout_console()
    with console.counter_display(shown, 2 * len(listing.paths)) as show:
        seen = read_image_format(listing, lambda done: show("looking at images", done))
        channels, side = _pixels(listing, seen, model, size)
        width, height = (side, side) if side else seen.sizes[0]
        shape = (channels, height, width)
        _rehearse(classifier, listing, model, shape)
        pile = read_images(
            listing, channels, side, lambda done: show("reading images", len(listing.paths) + done)
        )
    if listing.n_skipped:
        shown.print(
            f"{listing.n_skipped} files were left out: not {', '.join(SUFFIXES)}.", highlight=False
        )
    return pile


def _pixels(
    listing: ImageListing, seen: ImageFormat, model: GraphMethod | None, size: int | None
) -> tuple[int, int | None]:
    """Channels and side that images are read with."""
    if model is None:
        if size is None:
            check_sizes(listing, seen.sizes)
        return 3 if seen.colored else 1, size
    name, arguments = _recipe(model)
    channels, side = arguments.get("in_channels"), arguments.get("size")
    if channels not in (1, 3) or not isinstance(side, int):
        raise ValueError(
            f"the checkpoint's encoder, {name}, takes no gray or colored images; give a checkpoint of "
            "one that does, such as conv4"
        )
    if size not in (None, side):
        raise ValueError(
            f"the checkpoint's encoder takes images of {side} pixels and --size is {size}; leave --size "
            "out"
        )
    return int(channels), side


def _rehearse(
    classifier: FewShotClassifier,
    listing: ImageListing,
    model: GraphMethod | None,
    shape: tuple[int, ...],
) -> None:
    """Raises, before the long work, what a fit would raise: on an item of each class and an unlabeled one."""
    way = len(set(listing.labels) - {None})
    values = (
        np.cos(np.arange((way + 1) * np.prod(shape))).reshape(way + 1, *shape).astype(np.float32)
    )
    items = values if not isinstance(classifier.method, str) else _encoded(values, model, _silent)
    FewShotClassifier(classifier.method, arguments=classifier.arguments).fit(
        items, [*range(way), -1]
    )


def _encoded(x: Array, model: GraphMethod | None, show: Show) -> Array:
    """`[n, F]`: what the model's encoder gives, or the items themselves, flat."""
    if model is None:
        return _floating(x).reshape(len(x), -1)
    parts = []
    with eval_mode(model):
        for start in range(0, len(x), BATCH):
            batch = torch.from_numpy(_floating(x[start : start + BATCH]))
            parts.append(model.encoder(batch.to(torch.float32)).numpy())
            show(min(start + BATCH, len(x)))
    return np.concatenate(parts)


def _floating(x: Array) -> Array:
    """Images with values 0..1, features as they are."""
    return np.true_divide(x, np.float32(255), dtype=np.float32) if x.dtype == np.uint8 else x


def _silent(done: int) -> None:
    del done


def _draw(labeling: LabelTable, features: Array, path: Path) -> None:
    from graphfew.labeling.map_plot import plot_label_map  # matplotlib takes a second to import

    plot_label_map(labeling, features).savefig(path, format="png", dpi=110)


def _classifier(
    method: str,
    options: Mapping[str, JSON],
    model: GraphMethod | None,
    from_checkpoint: Path | None,
) -> FewShotClassifier:
    """Of a method that needs no training, on features; or of the checkpoint's own, on the items themselves."""
    known = find_method(method)
    if not known.needs_training:
        if not known.unlabeled:
            raise ValueError(
                f"{method} makes no use of unlabeled items; take a method that does, such as "
                "pool_prototypes (`graphfew methods` lists them)"
            )
        return FewShotClassifier(method, arguments=dict(options))
    if model is None or from_checkpoint is None:
        raise ValueError(
            f"{method} must be trained first: give --checkpoint, one of {method} that `graphfew train` "
            "wrote, or a --method that needs no training, such as pool_prototypes"
        )
    own = "a model built by hand" if model.spec is None else model.spec.name
    if own != method:
        raise ValueError(
            f"the checkpoint holds {own}, not {method}; leave --method out to use its encoder under "
            "pool_prototypes, or give the method that it holds"
        )
    if not (known.unlabeled and known.transductive):
        raise ValueError(
            f"{method} cannot label a pile together; leave --method out to use the checkpoint's encoder "
            "under pool_prototypes"
        )
    if options:
        raise ValueError(
            f"--set {next(iter(options))}: the checkpoint's {method} has its arguments; leave --set out"
        )
    return FewShotClassifier(resolve_checkpoint(from_checkpoint))


def _recipe(model: GraphMethod) -> tuple[str, Mapping[str, JSON]]:
    """Name and arguments of a checkpoint's encoder; of the one inside, where it averages or turns its features."""
    recipe = getattr(model.encoder, "spec", None)
    if recipe is None:
        return "one built by hand", {}
    name, arguments = recipe.name, recipe.arguments
    while isinstance(
        inner := (arguments.get("encoders") or [arguments.get("encoder")])[0], Mapping
    ):
        name, arguments = inner["name"], inner["arguments"]
    return name, arguments


def _check_width(pile: PartiallyLabeledItems, model: GraphMethod | None) -> None:
    if model is None:
        return
    name, arguments = _recipe(model)
    if name != backbones.identity.__name__ or arguments.get("dim") != pile.x.shape[1]:
        takes = (
            f"features of {arguments['dim']} numbers"
            if "dim" in arguments
            else "other items than features"
        )
        raise ValueError(
            f"the table has {pile.x.shape[1]} features and the checkpoint's encoder, {name}, takes "
            f"{takes}; leave --checkpoint out, or give one that fits"
        )


def _check_source(source: Path, from_checkpoint: Path | None, encoder: str | None) -> None:
    if not source.exists():
        raise FileNotFoundError(
            f"there is no {source}; give a folder of class folders with images, or a .csv, .npz or "
            ".parquet of features"
        )
    if not source.is_dir() and source.suffix.lower() not in (".csv", ".npz", ".parquet"):
        raise ValueError(
            f"{source} is neither a folder nor a .csv, .npz or .parquet; give one of these"
        )
    if encoder not in (None, "identity"):
        raise ValueError(
            f"--encoder is {encoder!r}; only identity needs no training; for another one give "
            "--checkpoint"
        )
    if encoder is not None and from_checkpoint is not None:
        raise ValueError(
            "both --encoder and --checkpoint are given; a checkpoint has its own encoder: leave one out"
        )
    if source.is_dir() and encoder is None and from_checkpoint is None:
        raise ValueError(
            "images need an encoder: give --checkpoint, a file or run folder that `graphfew train` wrote, "
            "or --encoder identity for their raw pixels, which --size brings to one size"
        )


def _check_target(path: Path, suffix: str, source: Path, overwrite: bool) -> None:
    """Raises where a file cannot be written there, or must not."""
    if path.suffix.lower() != suffix:
        raise ValueError(f"{path} does not end in {suffix}; give a name that does")
    if path.resolve() == source.resolve():
        raise ValueError(f"{path} is the source itself; give another name")
    if suffix in SUFFIXES and source.resolve() in path.resolve().parents:
        raise ValueError(
            f"{path} lies in {source}, where it would count as an item; give a place outside"
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} is there already; give another name, or --overwrite to replace it"
        )
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}: {folder}); give a place that you may write to"
        ) from error
