"""Networks of images as encoders: any torch module, and the models of timm."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from graphfew.encoders import pretrained_files
from graphfew.encoders.embedding_cache import cache_key
from graphfew.encoders.images import crop_square, stack_images
from graphfew.encoders.item_encoder import Features, ItemEncoder
from graphfew.encoders.lazy_model import LazyModel, PretrainedFit
from graphfew.errors import CheckpointError, InvalidInputError, InvalidTypeError, MissingFileError
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import device_of

TIMM_PREFIX = "timm"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class ImageTransform:
    """How images become the input of a network.

    Attributes:
        size: side in pixels of the square.
        mean: of red, green and blue, subtracted from values in `[0, 1]`.
        std: of red, green and blue, by which they are then divided.
        crop: part of the shorter side that the central square covers.

    Example:
        >>> from PIL import Image
        >>> transform = ImageTransform(4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        >>> transform([Image.new("RGB", (8, 6), "white")]).unique()
        tensor([1.])
    """

    size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    crop: float = 1.0

    def __call__(self, images: Sequence[Any]) -> Tensor:
        """Convert RGB images to `[n, 3, size, size]`."""
        pixels = stack_images([crop_square(image, self.size, self.crop) for image in images])
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (pixels - mean) / std


def image_encoder(
    module: Any,
    *,
    size: int = 224,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    crop: float = 1.0,
    device: str | None = None,
    batch_size: int = 64,
    cache_name: str | None = None,
) -> ItemEncoder:
    """Build an encoder of images from a network.

    Args:
        module: a network `[n, 3, size, size] -> [n, F]`, or a function without arguments that
            builds it, which is called when images are first encoded. Pickles contain a network, but
            of a function only its name.
        size: side in pixels of the square that the network takes.
        mean: of red, green and blue, subtracted from values in `[0, 1]`. The default is ImageNet's.
        std: of red, green and blue, by which they are then divided.
        crop: part of the shorter side that the central square covers.
        device: of the network; None leaves a network where it is, and puts one that is built on
            the GPU if there is one.
        batch_size: number of images that are encoded at a time.
        cache_name: name of the features in the cache on disk, to be changed if the network changes
            in more than its weights; None does not cache them.

    Returns:
        The encoder.

    Raises:
        InvalidTypeError: `module` is neither a network nor a function.
        InvalidInputError: a size is not positive.
        ConfigurationError: the device cannot be used.

    Example:
        >>> import numpy as np
        >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        >>> encoder = image_encoder(network, size=32)
        >>> encoder.fit(np.ones((3, 40, 50))).encode(np.ones((3, 40, 50))).shape
        (3, 12)
    """
    if not callable(module) or isinstance(module, type):
        raise InvalidTypeError(
            f"the encoder of images is {module!r}; give a torch module, or a function that builds one"
        )
    if size < 1 or batch_size < 1 or not 0 < crop <= 1:
        raise InvalidInputError(
            f"size is {size}, batch_size {batch_size} and crop {crop}; sizes must be at least 1, and "
            "crop above 0 and at most 1"
        )
    transform = ImageTransform(size, tuple(mean), tuple(std), crop)  # type: ignore[arg-type]
    name = cache_name or str(getattr(module, "__name__", type(module).__name__))
    facts: tuple[object, ...] = (transform,)
    function: Callable[[Sequence[Any]], Features]
    if isinstance(module, nn.Module):
        target = device_of(module) if device is None else torch.device(device)
        function = NetworkFeatures(module.to(target), transform)
        facts = (transform, _weights_digest(module)) if cache_name else facts
    else:
        target = pretrained_files.resolve_encoder_device(device)
        function = LazyModel(functools.partial(_build, module, transform, target))
    key = cache_key(cache_name, *facts) if cache_name else None
    return ItemEncoder(name, ("image",), PretrainedFit(function), batch_size, key)


def timm_encoder(name: str, device: str | None = None) -> ItemEncoder:
    """Build the encoder `timm:name`, with the image size and normalization of the model.

    Args:
        name: of a model of timm with pretrained weights in the cache, such as
            "vit_small_patch14_dinov2.lvd142m".
        device: None takes the GPU if there is one.

    Returns:
        The encoder. The model is loaded when it is first used.

    Raises:
        MissingDependencyError: timm is not installed.
        MissingFileError: the cache does not have the weights.
        ConfigurationError: the device cannot be used.

    Example:
        >>> from graphfew.errors import GraphfewError
        >>> try:
        ...     timm_encoder("no such model")
        ... except GraphfewError as error:
        ...     print(type(error).__name__)
        Missing...Error
    """
    full_name = f"{TIMM_PREFIX}:{name}"
    pretrained_files.require("timm", "vision", full_name, "hog")
    target = pretrained_files.resolve_encoder_device(device)
    weights = _timm_weights(name)
    model = LazyModel(functools.partial(load_timm, name, target))
    key = cache_key(full_name, weights)
    return ItemEncoder(full_name, ("image",), PretrainedFit(model), cache_key=key)


def load_timm(name: str, device: torch.device) -> NetworkFeatures:
    """Load a model without its classifier, and its transform.

    Raises:
        CheckpointError: the weights cannot be loaded.
    """
    timm = pretrained_files.import_package("timm")
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    # Damaged files and interrupted connections raise errors of many types.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the model {name} of timm cannot be loaded ({reason}); download it again, or update timm"
        ) from error
    config = pretrained_files.import_package("timm.data").resolve_model_data_config(model)
    transform = ImageTransform(
        int(config["input_size"][-1]),
        tuple(config["mean"]),
        tuple(config["std"]),
        float(config.get("crop_pct", 1.0)),
    )
    return NetworkFeatures(model.to(device).requires_grad_(False), transform)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """The features of a network.

    Attributes:
        module: `[n, 3, size, size] -> [n, F]`.
        transform: of images.
    """

    module: nn.Module
    transform: ImageTransform

    def __call__(self, images: Sequence[Any]) -> Features:
        """Encode RGB images to `[n, F]`; maps `[n, F, h, w]` are averaged."""
        weights = next(self.module.parameters(), None)
        dtype = torch.float32 if weights is None else weights.dtype
        pixels = self.transform(images).to(device_of(self.module), dtype)
        with eval_mode(self.module):
            output = self.module(pixels)
        if isinstance(output, Tensor) and output.ndim == 4:
            output = output.mean((2, 3))
        if not isinstance(output, Tensor) or output.ndim != 2:
            received = type(output).__name__
            if isinstance(output, Tensor):
                received = f"shape {tuple(output.shape)}"
            raise InvalidInputError(
                f"the network {type(self.module).__name__} returned {received} for {len(images)} "
                f"images; it must return features [{len(images)}, F]"
            )
        features: Features = output.float().cpu().numpy()
        return features


def _build(
    build: Callable[[], nn.Module], transform: ImageTransform, device: torch.device
) -> NetworkFeatures:
    module = build()
    if not isinstance(module, nn.Module):
        raise InvalidTypeError(
            f"{getattr(build, '__name__', build)} returned a {type(module).__name__}; it must return "
            "a torch module"
        )
    return NetworkFeatures(module.to(device), transform)


def _weights_digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _timm_weights(name: str) -> str:
    """The file of the weights in the cache of Hugging Face or of torch.hub."""
    timm = pretrained_files.import_package("timm")
    try:
        config = timm.get_pretrained_cfg(name)
    except (RuntimeError, ValueError):
        config = None
    if config is None:
        raise MissingFileError(
            f"timm has no pretrained weights of {name!r}; timm.list_pretrained() lists the models. "
            "The encoder hog needs no pretrained weights"
        )
    hub_id = getattr(config, "hf_hub_id", None)
    if hub_id:
        hub_id = hub_id if not hub_id.endswith("/") else f"{hub_id}{name}"
        hub = pretrained_files.import_package("huggingface_hub")
        for file in ("model.safetensors", "pytorch_model.bin"):
            found = hub.try_to_load_from_cache(hub_id, file)
            if isinstance(found, str):
                return found
        command = f"`hf download {hub_id}`"
    else:
        url = str(getattr(config, "url", ""))
        weights = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if weights.is_file():
            return str(weights)
        command = f"`timm.create_model({name!r}, pretrained=True)` in Python"
    raise MissingFileError(
        f"the weights of {name} are not in the cache; download them with {command}, or use the "
        "encoder hog, which needs no pretrained weights"
    )
