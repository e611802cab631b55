"""Items that arrive one by one, in one array that is allocated once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from graphfew.data.io.image_pixels import to_eight_bits
from graphfew.errors import InvalidInputError, InvalidTypeError

Array = NDArray[Any]
# Computes features `[m, F]` of a list of items.
EncodeItems = Callable[[list[Any]], Any]
# Items that are encoded together.
CHUNK = 256

_GRAY_MODES = ("1", "L", "LA", "La")
_ENCODE_HINT = (
    "pass encode=, a function from a list of items to features, such as the encode method of "
    '`graphfew.encoders.find_encoder("tfidf").fit(texts)`'
)


@dataclasses.dataclass(frozen=True)
class ItemReader:
    """How items become rows of an array.

    Attributes:
        encode: computes features `[m, F]` of a list of items; None for numbers and images.
        size: side in pixels of the square that each image is resized to; None leaves its size.
        channels: 1 for gray, 3 for RGB; None decides by the first image.
    """

    encode: EncodeItems | None = None
    size: int | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise InvalidInputError(f"size is {self.size}; it must be at least 1 pixel")
        if self.channels not in (None, 1, 3):
            raise InvalidInputError(f"channels is {self.channels}; use 1 for gray or 3 for RGB")


def stack_items(
    items: Iterable[Any], n: int, reader: ItemReader, on_progress: Callable[[int], None]
) -> Tensor:
    """Stack items.

    Images of Pillow and arrays `[h, w, 3]` of bytes become `[c, h, w]` uint8. Other numbers become
    float32, unless they are bytes.

    Args:
        items: tensors, arrays, lists of numbers, images of Pillow, or what `reader.encode` takes.
        n: number of items.
        reader: how they are read.
        on_progress: called with the number of items read.

    Returns:
        `[n, ...]` the items.

    Raises:
        InvalidTypeError: an item is not numeric, or has another dtype than the first one.
        InvalidInputError: items differ in size.

    Example:
        >>> stack_items([[1, 2], [3, 4]], 2, ItemReader(), on_progress=lambda done: None)
        tensor([[1., 2.],
                [3., 4.]])
    """
    stacked: Array | None = None
    for index, row in enumerate(_rows(items, reader)):
        if stacked is None:
            # The first item shows the size. Stacking a list would hold all items twice.
            stacked = np.empty((n, *row.shape), dtype=row.dtype)
        _check_row(row, index, stacked)
        stacked[index] = row
        on_progress(index + 1)
    if stacked is None:
        raise InvalidInputError("the data set has no items; pass at least one item per class")
    return torch.from_numpy(stacked)


def _rows(items: Iterable[Any], reader: ItemReader) -> Iterator[Array]:
    """Each item as an array."""
    if reader.encode is None:
        channels = reader.channels
        for index, item in enumerate(items):
            if isinstance(item, Image.Image):
                if channels is None:
                    channels = 1 if item.mode in _GRAY_MODES else 3
                yield _pixels(item, channels, reader.size)
            else:
                yield _numbers(item, index, reader)
        return
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        features = _numbers(reader.encode(chunk), 0, ItemReader())
        if features.ndim < 2 or len(features) != len(chunk):
            raise InvalidInputError(
                f"encode returned shape {features.shape} for {len(chunk)} items; it must return "
                "[m, F], one row per item"
            )
        yield from features


def _numbers(item: Any, index: int, reader: ItemReader) -> Array:
    """One item that is not an image of Pillow."""
    if isinstance(item, Tensor):
        values: Array = item.detach().cpu().to(_plain_dtype(item.dtype)).numpy()
    else:
        if isinstance(item, str | bytes | dict):
            raise InvalidTypeError(
                f"item {index} is of type {type(item).__name__}, not numbers or an image of Pillow; "
                f"{_ENCODE_HINT}"
            )
        values = _to_array(item, index)
    if reader.size is not None or reader.channels is not None:
        raise InvalidInputError(
            f"size and channels are for images of Pillow, and item {index} is of type "
            f"{type(item).__name__}; leave them out, and resize in the data set's transform"
        )
    if values.dtype != np.uint8:
        floats: Array = values.astype(np.float32, copy=False)
        return floats
    is_channels_last = values.ndim == 3 and values.shape[2] in (1, 3)
    if is_channels_last and values.shape[0] not in (1, 3):
        values = values.transpose(2, 0, 1)
    return values


def _to_array(item: Any, index: int) -> Array:
    try:
        values = np.asarray(item)
    except (ValueError, TypeError) as error:
        raise InvalidTypeError(f"item {index} is not an array ({error}); pass numbers") from error
    # Booleans, integers and floating point; no text, objects or complex numbers.
    if values.dtype.kind not in "buif":
        raise InvalidTypeError(
            f"item {index} has dtype {values.dtype}; pass numbers or images of Pillow, or "
            f"{_ENCODE_HINT}"
        )
    return values


def _plain_dtype(dtype: torch.dtype) -> torch.dtype:
    """A dtype that numpy has."""
    return dtype if dtype == torch.uint8 else torch.float32


def _pixels(image: Image.Image, channels: int, size: int | None) -> Array:
    """An image as `[channels, h, w]` uint8."""
    converted = to_eight_bits(image).convert("L" if channels == 1 else "RGB")
    if size is not None and converted.size != (size, size):
        converted = converted.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(converted)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _check_row(row: Array, index: int, stacked: Array) -> None:
    """Raise if an item has another shape or dtype than the first one."""
    if row.dtype != stacked.dtype:
        raise InvalidTypeError(
            f"items differ in dtype: item 0 is {stacked.dtype} and item {index} is {row.dtype}; "
            "convert them in the data set's transform"
        )
    if row.shape != stacked.shape[1:]:
        raise InvalidInputError(
            f"items differ in size: item 0 has shape {_shown(stacked.shape[1:])} and item {index} "
            f"{_shown(row.shape)}; resize them in the data set's transform, or images of Pillow "
            "with size= (and channels= if some are gray)"
        )


def _shown(shape: Sequence[int]) -> str:
    return str(list(shape))
