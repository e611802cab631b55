"""The handwritten digits that scikit-learn carries."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from graphfew.data.dataset import Dataset
from graphfew.data.io.paths import check_size


def digits(size: int = 28) -> Dataset:
    """1,797 handwritten digits of ten classes, `[1797, 1, size, size]` uint8 with bright strokes; one split, `"all"`.

    Raises:
        ValueError: a size below 1.

    Source: Alpaydin and Kaynak, 1998, "Optical recognition of handwritten digits", its test set, in scikit-learn.
    Deviations: enlarged from 8x8 by bicubic interpolation.
    """
    check_size(size)
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    source = load_digits()
    gray = np.rint(source.images * (255 / 16)).astype(np.uint8)
    images = [
        np.asarray(Image.fromarray(g).resize((size, size), Image.Resampling.BICUBIC)) for g in gray
    ]
    return Dataset(
        name="digits",
        split="all",
        x=torch.from_numpy(np.stack(images))[:, None],
        y=torch.from_numpy(source.target.astype(np.int64)),
        classes=tuple(str(d) for d in range(10)),
    )
