"""CUB-200-2011: birds, in the few-shot split of its classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.class_folders import dataset_from_images
from graphfew.data.io.image_folder import list_images
from graphfew.data.io.paths import Root, check_image_size, require_folder
from graphfew.data.partially_labeled import distinct_labels
from graphfew.data.splits import Splits
from graphfew.errors import DatasetError, DatasetNotFoundError

CUB_SPLITS = Splits(("train", "val", "test"))
N_CLASSES = 200
# Which classes belong to a split, by their index in the order of their names.
_BELONGS_TO: dict[str, Callable[[int], bool]] = {
    "train": lambda index: index % 2 == 0,
    "val": lambda index: index % 4 == 1,
    "test": lambda index: index % 4 == 3,
}
_HINT = (
    "pass root=, the folder of the extracted CUB_200_2011.tgz (class folders in "
    "CUB_200_2011/images; free for non-commercial research, from data.caltech.edu/records/20098)"
)


def cub(root: Root = None, split: str = "train", size: int = 84, progress: bool = True) -> Dataset:
    """Load CUB-200-2011, 41 to 60 birds per class; 100, 50 and 50 classes.

    Images are `root/CUB_200_2011/images/<class>/*.jpg`; `root` may also be `CUB_200_2011` or
    `images` itself. Decoded images are cached.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/cub`.
        split: train, val or test, with disjoint classes.
        size: side of the images in pixels.
        progress: show a bar.

    Returns:
        A data set with `x` `[n, 3, size, size]` uint8.

    Raises:
        InvalidInputError: an unknown split, or a size below 1.
        DatasetNotFoundError: the folder does not exist, or it has no class folders.
        DatasetError: the number of classes is not 200, or an image is damaged.

    Example:
        >>> cub("cub/", split="test")  # doctest: +SKIP
        Dataset('cub', split='test', 50 classes, 2958 items of shape [3, 84, 84] uint8)

    Source:
        Wah, Branson, Welinder, Perona and Belongie, 2011, "The Caltech-UCSD Birds-200-2011 dataset"
        (non-commercial research). Split of Chen, Liu, Kira, Wang and Huang, 2019, "A closer look at
        few-shot classification".

    Deviations:
        Images are rotated as their EXIF data says and stretched to the square by Lanczos
        resampling, while that code crops the center of a larger square. Bounding boxes are not
        used.
    """
    CUB_SPLITS.check("cub", split)
    check_image_size(size)
    listing = list_images(_find_images(require_folder(root, "cub", _HINT)))
    classes = distinct_labels(listing.labels)
    if len(classes) != N_CLASSES:
        raise DatasetError(
            f"{listing.folder} has {len(classes)} class folders, expected {N_CLASSES}; {_HINT}"
        )
    # Names start with the number of the class, so sorting them gives the official order.
    split_classes = {name for index, name in enumerate(classes) if _BELONGS_TO[split](index)}
    selected = listing.select(lambda label: label in split_classes)
    return dataset_from_images("cub", split, selected, size, channels=3, progress=progress)


def _find_images(folder: Path) -> Path:
    """Return the folder of the class folders, the first of which starts with 001."""
    for candidate in (folder / "CUB_200_2011" / "images", folder / "images", folder):
        if candidate.is_dir() and any(path.is_dir() for path in candidate.glob("001.*")):
            return candidate
    raise DatasetNotFoundError(
        f"{folder} has no CUB_200_2011/images with class folders, the first of them "
        f"001.Black_footed_Albatross; {_HINT}"
    )
