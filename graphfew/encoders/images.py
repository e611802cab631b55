"""Images of any form as PIL images in RGB: files, PIL images, and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from graphfew.data.io.image_pixels import read_rgb
from graphfew.errors import DatasetError, InvalidInputError

_MAX_SHOWN = 20
_CHANNELS = (1, 3, 4)


def load_images(items: Sequence[Any]) -> list[Image.Image]:
    """Load images in RGB, upright, on white where they are transparent.

    Args:
        items: paths, PIL images, or arrays `[h, w]` or `[h, w, c]`.

    Returns:
        The images.

    Raises:
        DatasetError: a file is damaged.
        InvalidInputError: an array is not an image.
    """
    return [_load(item) for item in items]


def check_readable(items: Sequence[Any]) -> None:
    """Raise DatasetError with the first 20 images that cannot be read."""
    problems = [problem for problem in map(_problem, items) if problem is not None]
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:_MAX_SHOWN])
        raise DatasetError(f"{len(problems)} of {len(items)} images cannot be read:\n{shown}")


def check_files(items: Sequence[Any]) -> None:
    """Raise DatasetError if files of images do not exist, before any is read."""
    paths = [item for item in items if isinstance(item, Path)]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        shown = ", ".join(missing[:_MAX_SHOWN])
        rest = f" and {len(missing) - _MAX_SHOWN} more" if len(missing) > _MAX_SHOWN else ""
        raise DatasetError(
            f"{len(missing)} of {len(items)} images do not exist: {shown}{rest}; paths are relative "
            f"to {Path.cwd()}"
        )


def array_images(images: NDArray[Any]) -> list[NDArray[np.uint8]]:
    """Convert a stack of images to bytes.

    Args:
        images: `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` with 1, 3 or 4 channels: bytes, 16-bit
            integers, booleans, or numbers from 0 to 1 or from 0 to 255.

    Returns:
        The images, `[h, w]` or `[h, w, c]` each.
    """
    if images.ndim == 4 and images.shape[-1] not in _CHANNELS and images.shape[1] in _CHANNELS:
        images = images.transpose(0, 2, 3, 1)
    return [*to_bytes(images)]


def to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale values of images to `[0, 255]`."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return np.where(values, 255, 0).astype(np.uint8)
    if values.dtype == np.uint16:
        reduced: NDArray[np.uint8] = (values // 257).astype(np.uint8)
        return reduced
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise InvalidInputError(
            f"the images have values of type {values.dtype} that are not numbers or not finite; "
            "give numbers from 0 to 1, or from 0 to 255"
        )
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if low < 0 or high > 255:
        raise InvalidInputError(
            f"the images have values from {low:g} to {high:g}; give numbers from 0 to 1, or from 0 "
            "to 255 (normalized images: undo the normalization)"
        )
    scale = 255.0 if values.dtype.kind == "f" and high <= 1 else 1.0
    scaled: NDArray[np.uint8] = np.rint(values * scale).astype(np.uint8)
    return scaled


def resize(image: Image.Image, size: int) -> Image.Image:
    """Stretch an image to a square of `size` pixels."""
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.LANCZOS)


def crop_square(image: Image.Image, size: int, crop: float = 1.0) -> Image.Image:
    """Scale a central square of an image to `size` pixels.

    Args:
        image: any image.
        size: side of the result.
        crop: side of the square relative to the shorter side of the image.
    """
    width, height = image.size
    side = crop * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    # A gap of 2 reduces large photos by whole factors first, which is several times as fast.
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)


def stack_images(images: Sequence[Image.Image]) -> Tensor:
    """Stack RGB images of one size to `[n, 3, h, w]` in `[0, 1]`."""
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)


def _problem(item: Any) -> str | None:
    """Why an image cannot be read."""
    try:
        _load(item)
    except DatasetError as error:
        return str(error)
    return None


def _load(item: Any) -> Image.Image:
    if isinstance(item, Path | Image.Image):
        return read_rgb(item)
    array = np.asarray(item)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in _CHANNELS):
        raise InvalidInputError(
            f"an image has shape {array.shape}; give [h, w], or [h, w, c] with 1, 3 or 4 channels"
        )
    return read_rgb(Image.fromarray(to_bytes(array)))
