"""Small images of items, for pages and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graphfew.data.io.image_pixels import read_rgb

ImageItem = Path | Image.Image | NDArray[Any]


def item_image(item: ImageItem, side: int) -> Image.Image:
    """Return an image in RGB whose longer side is at most `side` pixels.

    Args:
        item: a path, an image of Pillow, or an array `[h, w]` or `[h, w, c]`.
        side: in pixels.

    Raises:
        DatasetError: the image is damaged.

    Example:
        >>> item_image(np.zeros((40, 20), dtype=np.uint8), 8).size
        (4, 8)
    """
    if isinstance(item, np.ndarray):
        item = Image.fromarray(item[..., 0] if item.shape[-1] == 1 and item.ndim == 3 else item)
    image = read_rgb(item)
    # A gap reduces large photos by whole factors first, which is several times as fast.
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image
