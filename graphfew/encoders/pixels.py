"""`pixels`: the values of a small copy of an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, final

from graphfew.encoders.images import resize, stack_images
from graphfew.encoders.item_encoder import Features, ItemEncoder
from graphfew.encoders.lazy_model import PretrainedFit

NAME = "pixels"
SIZE = 32


def pixels_encoder(size: int = SIZE) -> ItemEncoder:
    """Build the encoder `pixels`: the color values of an image of 32 by 32 pixels.

    It suits images that are aligned, such as scanned characters. For photos, `hog` is better.

    Args:
        size: side in pixels of the square that images are stretched to.

    Returns:
        The encoder.

    Example:
        >>> import numpy as np
        >>> encoder = pixels_encoder(size=4)
        >>> encoder.fit(np.ones((2, 8, 8))).encode(np.ones((2, 8, 8))).shape
        (2, 48)
    """
    return ItemEncoder(NAME, ("image",), PretrainedFit(PixelValues(size)), batch_size=256)


@final
@dataclasses.dataclass(frozen=True)
class PixelValues:
    """The pixels of images.

    Attributes:
        size: side of the square.
    """

    size: int

    def __call__(self, images: Sequence[Any]) -> Features:
        """Encode RGB images to `[n, 3 * size * size]` in `[0, 1]`."""
        stacked = stack_images([resize(image, self.size) for image in images])
        features: Features = stacked.flatten(1).numpy()
        return features
