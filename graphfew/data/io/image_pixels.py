"""Decoding of images of any format to 8 bits per value: upright, without transparency."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from graphfew.data.io import archives
from graphfew.errors import DatasetError

Array = NDArray[Any]
# An image file, or the bytes of one.
ImageFile = Path | bytes
ProgressCallback = Callable[[int], None]
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".pgm",
    ".ppm",
)
# What Pillow raises for damaged files, also inside an archive.
READ_ERRORS = (*archives.READ_ERRORS, Image.DecompressionBombError)

_GRAY_MODES = ("1", "L", "LA", "La")
# Pillow's modes "I", "I;16" and "F" have 16 or 32 bits.
_DEEP_MODES = ("I", "F")
# The largest values of cameras and microscopes, which store 10, 12 or 14 bits in 16.
_FULL_SCALES = (255, 1023, 4095, 16_383, 65_535)
# The EXIF tag for the orientation of the camera, and its values that swap width and height.
_ORIENTATION_TAG = 0x0112
_ROTATED_BY_90_DEGREES = (5, 6, 7, 8)
_MAX_THREADS = 8


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What one image file states, and whether it can be decoded.

    Attributes:
        size: (width, height) as displayed.
        has_color: whether it has more than shades of gray.
        n_frames: number of frames or pages, of which the first is used.
        problem: why it cannot be decoded; None if it can.
    """

    size: tuple[int, int] = (0, 0)
    has_color: bool = False
    n_frames: int = 1
    problem: str | None = None


def read_rgb(file: ImageFile | Image.Image) -> Image.Image:
    """Decode an image to RGB with 8 bits per value.

    It is rotated as its EXIF data says, and transparent parts are white. Of an animation or a file
    of pages, the first one is used. For values of more than 8 bits see `to_eight_bits`.

    Args:
        file: a path, the bytes of a file, or an image of Pillow.

    Raises:
        DatasetError: the image is damaged.

    Example:
        >>> read_rgb(Image.new("I;16", (1, 1), 65535)).getpixel((0, 0))
        (255, 255, 255)
    """
    with open_image(file) as image:
        return to_eight_bits(image).convert("RGB")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Return an upright image of 8 bits per value without transparency.

    Integers of more bits are divided by the full scale of 8, 10, 12, 14 or 16 bits, the first one
    that holds the brightest pixel. Floats within [0, 1] are multiplied by 255. All others, such as
    negative values, are scaled from the darkest to the brightest pixel.

    Example:
        >>> image = Image.fromarray(np.array([[0, 2048], [1024, 4095]], dtype=np.uint16))
        >>> np.asarray(to_eight_bits(image)).tolist()
        [[0, 128], [64, 255]]
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(_DEEP_MODES):
        return Image.fromarray(_scaled(np.asarray(upright)))
    return _on_white(upright)


def read_pixels(file: ImageFile, channels: int, size: int | None) -> NDArray[np.uint8]:
    """Decode an image to `[channels, h, w]`.

    Args:
        file: a path, or the bytes of a file.
        channels: 1 for gray, 3 for RGB.
        size: side in pixels of the square that it is stretched to; None leaves its size.

    Raises:
        DatasetError: the image is damaged.
    """
    with open_image(file) as image:
        converted = to_eight_bits(image).convert("L" if channels == 1 else "RGB")
    if size is not None and converted.size != (size, size):
        converted = converted.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(converted)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def inspect_images(
    files: Sequence[ImageFile], on_progress: ProgressCallback = lambda done: None
) -> list[ImageHeader]:
    """Decode every image once, and return what it states or why it cannot be decoded.

    Args:
        files: paths, or the bytes of files.
        on_progress: called with the number of images read.
    """
    headers: list[ImageHeader] = []
    # Pillow releases the interpreter lock while it decodes.
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        for header in pool.map(_inspect, files):
            headers.append(header)
            on_progress(len(headers))
    return headers


def unreadable_reason(file: ImageFile, error: BaseException) -> str:
    """Return why an image cannot be decoded, given what Pillow raised."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(file, Path) and file.is_file() and not file.stat().st_size:
        return "is empty"
    if isinstance(error, UnidentifiedImageError):
        return "is not an image"
    return f"cannot be read as an image ({archives.one_line(error)})"


@contextmanager
def open_image(file: ImageFile | Image.Image) -> Iterator[Image.Image]:
    """Open an image; what Pillow raises in the block becomes a DatasetError."""
    if isinstance(file, Image.Image):
        yield file
        return
    name = file if isinstance(file, Path) else "an image"
    try:
        # Pillow decodes lazily: what the caller does with the image may raise as well.
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file)) as image:
            yield image
    except READ_ERRORS as error:
        raise DatasetError(
            f"{name} cannot be read as an image ({error}); replace or remove it"
        ) from error


def _inspect(file: ImageFile) -> ImageHeader:
    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file)) as image:
            # Decoding at an eighth of the size is faster and finds truncated files, too.
            image.draft(image.mode, (1, 1))
            width, height = image.size
            image.load()
            if image.getexif().get(_ORIENTATION_TAG) in _ROTATED_BY_90_DEGREES:
                width, height = height, width
            n_frames = getattr(image, "n_frames", 1)
            return ImageHeader((width, height), image.mode not in _GRAY_MODES, n_frames)
    except READ_ERRORS as error:
        return ImageHeader(problem=unreadable_reason(file, error))


def _scaled(values: Array) -> NDArray[np.uint8]:
    """Scale values of more than 8 bits."""
    may_be_unit = values.dtype.kind == "f"
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    is_integer = bool((finite == np.floor(finite)).all())
    if may_be_unit and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and is_integer and high <= _FULL_SCALES[-1]:
        low, high = 0.0, float(next(scale for scale in _FULL_SCALES if high <= scale))
    # An image of one value is black instead of a division by zero; missing values are black.
    unit = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-300)
    scaled: NDArray[np.uint8] = np.rint(255 * unit.clip(0, 1)).astype(np.uint8)
    return scaled


def _on_white(image: Image.Image) -> Image.Image:
    """Put a transparent image on a white background."""
    if not image.has_transparency_data:
        return image
    # Conversion to RGB alone would show the arbitrary colors of transparent pixels.
    foreground = image.convert("RGBA")
    background = Image.new("RGBA", foreground.size, "white")
    return Image.alpha_composite(background, foreground)
