"""Items as the encoder of a checkpoint takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew import backbones
from graphfew.data.io.image_folder import read_image_files
from graphfew.encoders.checkpoint_models import encoder_spec, image_shape
from graphfew.errors import ConfigurationError
from graphfew.labeling.label_sources import LabelSource
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod

Array = NDArray[Any]
Progress = Callable[[int], None]
# Items that are encoded at a time.
BATCH_SIZE = 256


def model_inputs(
    source: LabelSource, model: GraphMethod, size: int | None, progress: Progress
) -> Array:
    """Return items as the encoder of a checkpoint takes them.

    Args:
        source: features, or images in files.
        model: of the checkpoint.
        size: side of the images in pixels that the user gave.
        progress: called with the number of images that have been read.

    Returns:
        `[n, F]` features, or `[n, c, h, w]` uint8 images.

    Raises:
        ConfigurationError: the encoder takes other items.
    """
    if source.kind == "features":
        features = cast(Array, source.items)
        _check_width(features, model)
        return features
    channels, side = image_format(model, size)
    files = [item for item in source.items if isinstance(item, Path)]
    if source.kind == "text" or len(files) != len(source):
        raise ConfigurationError(
            "--checkpoint takes images in files, or features; omit it, or give an --encoder"
        )
    return read_image_files(source.origin, files, channels, side, progress)


def image_format(model: GraphMethod, size: int | None) -> tuple[int, int]:
    """Return the number of channels and the size in pixels of the images that an encoder takes.

    Args:
        model: of the checkpoint.
        size: the size that the user gave.

    Raises:
        ConfigurationError: the encoder takes no images, or images of another size.
    """
    channels, side = image_shape(model)
    if size not in (None, side):
        raise ConfigurationError(
            f"the checkpoint's encoder takes images of {side} pixels and --size is {size}; omit "
            "--size"
        )
    return channels, side


def encode_by_model(x: Array, model: GraphMethod, progress: Progress) -> Array:
    """Compute `[n, F]` features by the encoder of a model.

    Args:
        x: `[n, F]` features, or `[n, c, h, w]` uint8 images.
        model: of the checkpoint.
        progress: called with the number of items that are done.
    """
    features = []
    with eval_mode(model):
        for start in range(0, len(x), BATCH_SIZE):
            # Tables may be float64, while the weights of encoders are float32.
            batch = torch.from_numpy(to_float(x[start : start + BATCH_SIZE]))
            features.append(model.encoder(batch.to(torch.float32)).numpy())
            progress(min(start + BATCH_SIZE, len(x)))
    return np.concatenate(features)


def to_float(x: Array) -> Array:
    """Return images scaled to `[0, 1]`, and features unchanged."""
    if x.dtype != np.uint8:
        return x
    # `x / 255` would allocate a float64 copy of all images, twice the size of this one.
    scaled: Array = np.true_divide(x, np.float32(255), dtype=np.float32)
    return scaled


def _check_width(features: Array, model: GraphMethod) -> None:
    name, arguments = encoder_spec(model)
    if name != backbones.identity.__name__ or arguments.get("dim") != features.shape[1]:
        accepted = "items other than features"
        if "dim" in arguments:
            accepted = f"{arguments['dim']} features"
        raise ConfigurationError(
            f"the table has {features.shape[1]} features and the checkpoint's encoder, {name}, takes "
            f"{accepted}; omit --checkpoint, or give a matching one"
        )
