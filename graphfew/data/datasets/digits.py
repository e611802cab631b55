"""The handwritten digits that scikit-learn includes."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from graphfew.data.dataset import Dataset
from graphfew.data.io.paths import check_image_size
from graphfew.data.splits import Splits

DIGITS_SPLITS = Splits(("all",), test=())
_MAX_GRAY = 16


def digits(size: int = 28) -> Dataset:
    """Load 1,797 handwritten digits of ten classes, with bright strokes on black.

    The only split is `all`.

    Args:
        size: side of the images in pixels.

    Returns:
        A data set with `x` `[1797, 1, size, size]` uint8.

    Raises:
        InvalidInputError: the size is below 1.

    Example:
        >>> digits(size=8)
        Dataset('digits', split='all', 10 classes, 1797 items of shape [1, 8, 8] uint8)

    Source:
        Alpaydin and Kaynak, 1998, "Optical recognition of handwritten digits", its test set, in
        scikit-learn.

    Deviations:
        Enlarged from 8x8 by bicubic interpolation.
    """
    check_image_size(size)
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    source = load_digits()
    # The gray values of scikit-learn run from 0 to 16.
    small_images = np.rint(source.images * (255 / _MAX_GRAY)).astype(np.uint8)
    images = []
    for small in small_images:
        enlarged = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)
        images.append(np.asarray(enlarged))
    return Dataset(
        name="digits",
        split="all",
        x=torch.from_numpy(np.stack(images))[:, None],
        y=torch.from_numpy(source.target.astype(np.int64)),
        classes=tuple(str(digit) for digit in range(10)),
    )
