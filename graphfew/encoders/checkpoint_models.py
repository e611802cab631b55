"""`checkpoint:`: the encoder of a model that graphfew trained."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from graphfew._utils.model_spec import JSON
from graphfew.encoders import pretrained_files
from graphfew.encoders.embedding_cache import cache_key
from graphfew.encoders.images import resize, stack_images
from graphfew.encoders.item_encoder import Features, ItemEncoder
from graphfew.encoders.lazy_model import LazyModel, PretrainedFit
from graphfew.errors import ConfigurationError
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.runs import resolve_checkpoint
from graphfew.runs.checkpoints import describe_checkpoint
from graphfew.serialization import checkpoint

PREFIX = "checkpoint"


def checkpoint_encoder(name: str, device: str | None = None) -> ItemEncoder:
    """Build the encoder `checkpoint:name`.

    Images are stretched to the size of the training images, in color or in gray as these were.

    Args:
        name: a checkpoint file, a run folder, or the name of a pretrained model of graphfew.
        device: None takes the GPU if there is one.

    Returns:
        The encoder.

    Raises:
        MissingFileError: the checkpoint does not exist.
        CheckpointError: it is damaged.
        ConfigurationError: its encoder does not take images, or the device cannot be used.

    Example:
        >>> checkpoint_encoder("prototypical-omniglot").kinds
        ('image',)
    """
    path = resolve_checkpoint(name)
    target = pretrained_files.resolve_encoder_device(device)
    # Loaded here for the check, and again when it is used: pickles hold the path only.
    channels, size = image_shape(checkpoint.load(path))
    model = LazyModel(functools.partial(_load, path, channels, size, target))
    full_name = f"{PREFIX}:{name}"
    key = cache_key(full_name, describe_checkpoint(path)["sha256"])
    return ItemEncoder(full_name, ("image",), PretrainedFit(model), batch_size=256, cache_key=key)


def image_shape(model: GraphMethod) -> tuple[int, int]:
    """Return the number of channels and the size of the images that a model takes.

    Raises:
        ConfigurationError: its encoder does not take images.
    """
    name, arguments = encoder_spec(model)
    channels, size = arguments.get("in_channels"), arguments.get("size")
    if channels not in (1, 3) or not isinstance(size, int):
        raise ConfigurationError(
            f"the checkpoint's encoder, {name}, does not accept images; give a checkpoint "
            "of one that does, such as conv4"
        )
    return int(channels), size


def encoder_spec(model: GraphMethod) -> tuple[str, Mapping[str, JSON]]:
    """Return name and arguments of a model's encoder, or of the innermost one inside wrappers."""
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


@final
@dataclasses.dataclass(frozen=True, eq=False)
class CheckpointFeatures:
    """The features of a trained encoder.

    Attributes:
        encoder: the network.
        channels: of the images, 1 or 3.
        size: of the images in pixels.
        device: of the network.
    """

    encoder: nn.Module
    channels: int
    size: int
    device: torch.device

    def __call__(self, images: Sequence[Any]) -> Features:
        """Encode RGB images to `[n, F]`."""
        if self.channels == 1:
            # The colors of a gray image are equal, so one of them is left.
            images = [image.convert("L").convert("RGB") for image in images]
        pixels = stack_images([resize(image, self.size) for image in images])
        with eval_mode(self.encoder):
            output = self.encoder(pixels[:, : self.channels].to(self.device))
        features: Features = output.float().cpu().numpy()
        return features


def _load(path: Path, channels: int, size: int, device: torch.device) -> CheckpointFeatures:
    encoder = checkpoint.load(path).encoder
    return CheckpointFeatures(encoder.to(device), channels, size, device)
