"""Checks of the options of `graphfew label`, before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from graphfew._utils.atomic_io import check_writable
from graphfew._utils.model_spec import JSON
from graphfew.data.io.image_pixels import SUFFIXES
from graphfew.errors import ConfigurationError
from graphfew.estimators.auto.predictor import AUTO
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.methods.registry import find_method
from graphfew.nn.method import GraphMethod
from graphfew.runs import resolve_checkpoint

PIXELS = "pixels"


def check_encoder(encoder: str | None, from_checkpoint: Path | None, size: int | None) -> None:
    """Raise if the encoder contradicts other options."""
    if encoder is not None and from_checkpoint is not None:
        raise ConfigurationError(
            "--encoder and --checkpoint are both given, but a checkpoint has its encoder; omit one"
        )
    if size is not None and from_checkpoint is None and encoder != PIXELS:
        raise ConfigurationError(
            f"--size is for the encoder {PIXELS} and for checkpoints; omit it, or give --encoder "
            f"{PIXELS}"
        )


def check_targets(targets: Mapping[Path, Sequence[str]], source: Path, *, overwrite: bool) -> None:
    """Raise if files cannot or must not be written.

    Args:
        targets: the suffixes that each file may have.
        source: the source of the items.
        overwrite: whether existing files are replaced.
    """
    for path, suffixes in targets.items():
        _check_target(path, suffixes, source, overwrite=overwrite)


def _check_target(path: Path, suffixes: Sequence[str], source: Path, *, overwrite: bool) -> None:
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise ConfigurationError(
            f"{path} does not end in {' or '.join(suffixes)}; give a name that does"
        )
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


def parse_threshold(text: str | None, method: str) -> float | Literal["auto"] | None:
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


def build_classifier(
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
