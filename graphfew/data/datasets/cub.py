"""CUB-200-2011: birds, in the few-shot split of its classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.class_folders import of_listing, only
from graphfew.data.io.image_folder import list_images
from graphfew.data.io.paths import Root, check_size, check_split, require_folder

CLASSES = 200
# which of the classes, in the order of their names and counted from 0, belong to a split
SPLITS: dict[str, Callable[[int], bool]] = {
    "train": lambda number: number % 2 == 0,
    "val": lambda number: number % 4 == 1,
    "test": lambda number: number % 4 == 3,
}
HINT = (
    "give root=, the folder that CUB_200_2011.tgz was unpacked to (class folders in CUB_200_2011/images; free for "
    "non-commercial research, from data.caltech.edu/records/20098)"
)


def cub(root: Root = None, split: str = "train", size: int = 84, progress: bool = True) -> Dataset:
    """CUB-200-2011, `[n, 3, size, size]` uint8, 41 to 60 birds per class; 100, 50 and 50 classes.

    Read from `root/CUB_200_2011/images/<class>/*.jpg`; `root` may also be `CUB_200_2011` or `images` itself. Decoded
    images are cached.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/cub`.
        split: train, val or test; no class is in two of them.
        size: pixels of a side.
        progress: show a bar.

    Raises:
        ValueError: an unknown split, a size below 1, another number of classes than 200, or a broken image.
        FileNotFoundError: no folder, or no class folders in it.

    Source: Wah, Branson, Welinder, Perona and Belongie, 2011, "The Caltech-UCSD Birds-200-2011 dataset" (non-commercial
    research); split of Chen et al., 2019, "A closer look at few-shot classification". Deviations: images are turned
    upright and stretched to the square by Lanczos resampling, where that code cuts the middle out of a larger square;
    bounding boxes are not used.
    """
    check_split("cub", split, SPLITS)
    check_size(size)
    listing = list_images(_images(require_folder(root, "cub", HINT)))
    classes = sorted({label for label in listing.labels if label is not None})
    if len(classes) != CLASSES:
        raise ValueError(
            f"{listing.folder} has {len(classes)} class folders, expected {CLASSES}; {HINT}"
        )
    kept = {name for number, name in enumerate(classes) if SPLITS[split](number)}
    return of_listing("cub", split, only(listing, lambda label: label in kept), size, 3, progress)


def _images(folder: Path) -> Path:
    """The folder of the class folders, which begin with 001."""
    for place in (folder / "CUB_200_2011" / "images", folder / "images", folder):
        if place.is_dir() and any(path.is_dir() for path in place.glob("001.*")):
            return place
    raise FileNotFoundError(
        f"{folder} has no CUB_200_2011/images with class folders, the first of them "
        f"001.Black_footed_Albatross; {HINT}"
    )
