"""Four classes of one: images turned by quarters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TURNS = 4


def rotated(images: NDArray[Any], names: Sequence[str]) -> tuple[NDArray[Any], list[str]]:
    """Every class of `images [classes, each, ..., h, w]` in four, turned counter-clockwise, `name/rot090` and so on."""
    turned = np.stack([np.rot90(images, turn, axes=(-2, -1)) for turn in range(TURNS)], axis=1)
    return turned.reshape(-1, *turned.shape[2:]), [
        f"{name}/rot{90 * turn:03d}" for name in names for turn in range(TURNS)
    ]
