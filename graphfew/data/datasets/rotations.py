"""Class augmentation by rotation: four classes from each class of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_ROTATIONS = 4


def rotate_classes(images: NDArray[Any], names: Sequence[str]) -> tuple[NDArray[Any], list[str]]:
    """Turn every class into four: its images rotated counter-clockwise by 0, 90, 180 and 270°.

    Args:
        images: `[classes, each, ..., h, w]` with square images.
        names: `[classes]` class names.

    Returns:
        `[4 * classes, each, ..., h, w]` images, the rotations of a class in sequence, and their
        names (`name/rot090`).
    """
    rotations = [np.rot90(images, turns, axes=(-2, -1)) for turns in range(N_ROTATIONS)]
    # Axis 1 makes the four rotations of a class adjacent once the axes are merged.
    rotated = np.stack(rotations, axis=1)
    rotated_names = [
        f"{name}/rot{90 * turns:03d}" for name in names for turns in range(N_ROTATIONS)
    ]
    return rotated.reshape(-1, *rotated.shape[2:]), rotated_names
