"""A data set from your own images: one folder per class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew.data.dataset import Dataset
from graphfew.data.io import cache
from graphfew.data.io.image_folder import ImageListing, list_images, read_images
from graphfew.data.io.paths import Root, check_image_size, require_folder
from graphfew.data.io.progress import progress_counter
from graphfew.data.partially_labeled import distinct_labels
from graphfew.data.splits import Splits
from graphfew.errors import DatasetNotFoundError, InvalidInputError

CLASS_FOLDERS_SPLITS = Splits(("all",), subfolders=True)
_HINT = "pass root=, a folder with a sub-folder of images for each class"


def class_folders(
    root: Root = None,
    split: str = "all",
    size: int = 84,
    channels: int = 3,
    progress: bool = True,
    unlabeled_marks: Sequence[str] | None = None,
) -> Dataset:
    """Load your own images from class folders.

    Images are `root/<class>/*.png` (or jpg, webp, bmp, gif, tif and others), or `root/<split>/<class>/*.png` with a
    folder for each split. They are stretched to a square by Lanczos resampling, rotated as their
    EXIF data says, and cached. Values of more than 8 bits are scaled to the full range of the image
    (see `graphfew.data.io.image_pixels.to_eight_bits`). Images outside of class folders, or in a
    folder for unlabeled ones, are ignored.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/class_folders`.
        split: `all` for `root` itself, or the name of a folder in it.
        size: side of the images in pixels.
        channels: 1 for gray, 3 for RGB.
        progress: show a bar.
        unlabeled_marks: names of folders with unlabeled images; None takes "unlabeled", "unknown"
            and others (see `graphfew.data.labels.resolve_labels`).

    Returns:
        A data set with `x` `[n, channels, size, size]` uint8, and classes sorted by name.

    Raises:
        InvalidInputError: a size below 1, or channels other than 1 and 3.
        DatasetNotFoundError: the folder does not exist.
        DatasetError: fewer than two classes, folders that are splits, a class without images, or a
            damaged image.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     Image.new("RGB", (4, 4)).save(root / name / "1.png")
        >>> class_folders(root, size=8, progress=False).classes
        ('cat', 'dog')
    """
    check_image_size(size)
    if channels not in (1, 3):
        raise InvalidInputError(f"channels is {channels}; use 1 for gray or 3 for RGB")
    folder = require_folder(root, "class_folders", _HINT)
    split_folder = folder if split == "all" else folder / split
    if not split_folder.is_dir():
        subfolders = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise DatasetNotFoundError(
            f"{folder} has no folder {split!r} for the split; its folders are "
            f"{', '.join(subfolders) or 'none'}"
        )
    listing = list_images(split_folder, unlabeled_marks=unlabeled_marks)
    # Resolved, because the name of Path(".") is empty.
    return dataset_from_images(folder.resolve().name, split, listing, size, channels, progress)


def dataset_from_images(
    name: str, split: str, listing: ImageListing, size: int, channels: int, progress: bool
) -> Dataset:
    """Create a data set from the labeled images of a listing, decoded once; see `class_folders`."""
    labeled = listing.select(lambda label: label is not None)
    classes = distinct_labels(labeled.labels)
    index_of_class: dict[str | None, int] = {name: index for index, name in enumerate(classes)}
    y = torch.tensor([index_of_class[label] for label in labeled.labels])
    x = torch.from_numpy(_load_pixels(labeled, size, channels, progress))
    return Dataset(name, split, x, y, classes)


def _load_pixels(
    listing: ImageListing, size: int, channels: int, progress: bool
) -> NDArray[np.uint8]:
    """Return `[n, channels, size, size]` images, from the cache if they are there."""

    def decode() -> dict[str, NDArray[np.uint8]]:
        label = f"decoding {listing.folder.name}"
        with progress_counter(label, len(listing.paths), progress) as on_progress:
            return {"x": read_images(listing, channels, size, on_progress)}

    key = f"scaled-images-{cache.fingerprint(listing.paths)}-{channels}x{size}"
    cached = cache.load_or_build(key, ("x",), decode)
    x: NDArray[np.uint8] = cached["x"].astype(np.uint8, copy=False)
    return x
