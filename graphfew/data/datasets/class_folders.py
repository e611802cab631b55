"""A data set of one's own: a folder for each class, with images in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew.data.dataset import Dataset
from graphfew.data.io import cache
from graphfew.data.io.image_folder import ImageListing, list_images, read_images
from graphfew.data.io.paths import Root, check_size, require_folder

HINT = "give root=, a folder with a sub-folder of images for each class"


def class_folders(
    root: Root = None, split: str = "all", size: int = 84, channels: int = 3, progress: bool = True
) -> Dataset:
    """Images of your own in class folders, `[n, channels, size, size]` uint8; classes in the order of their names.

    `root/<class>/*.png` (or jpg, webp, bmp), or `root/<split>/<class>/*.png` with a folder for each split. Images are
    stretched to a square by Lanczos resampling, upright as the camera was held, and kept in the cache. Those outside
    the class folders are left out.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/class_folders`.
        split: "all" reads `root` itself, any other the folder of that name in it.
        size: pixels of a side.
        channels: 1 for gray, 3 for red, green and blue.
        progress: show a bar.

    Raises:
        ValueError: a size below 1, channels other than 1 and 3, fewer than two classes, one without images, or an image
            that is broken.
        FileNotFoundError: no such folder.
    """
    check_size(size)
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; give 1 for gray or 3 for red, green and blue")
    place = require_folder(root, "class_folders", HINT)
    own = place if split == "all" else place / split
    if not own.is_dir():
        folders = (
            ", ".join(sorted(path.name for path in place.iterdir() if path.is_dir())) or "none"
        )
        raise FileNotFoundError(
            f"{place} has no folder {split!r} for the split; its folders are {folders}"
        )
    return of_listing(place.resolve().name, split, list_images(own), size, channels, progress)


def of_listing(
    name: str, split: str, listing: ImageListing, size: int, channels: int, progress: bool
) -> Dataset:
    """The data set of the labeled ones of some images, decoded once: `class_folders` says how."""
    kept = only(listing, lambda label: label is not None)
    classes = tuple(sorted({label for label in kept.labels if label is not None}))
    place = {label: i for i, label in enumerate(classes)}
    y = torch.tensor([place[str(label)] for label in kept.labels])
    return Dataset(
        name, split, torch.from_numpy(pixels(kept, size, channels, progress)), y, classes
    )


def only(listing: ImageListing, wanted: Callable[[str | None], bool]) -> ImageListing:
    """The images whose label is wanted."""
    pairs = [pair for pair in zip(listing.paths, listing.labels, strict=True) if wanted(pair[1])]
    return dataclasses.replace(
        listing, paths=tuple(path for path, _ in pairs), labels=tuple(name for _, name in pairs)
    )


def pixels(listing: ImageListing, size: int, channels: int, progress: bool) -> NDArray[np.uint8]:
    """`[n, channels, size, size]`, from the cache where it has them. Raises ValueError for a broken image."""

    def decode() -> dict[str, NDArray[np.uint8]]:
        with cache.counting(
            f"decoding {listing.folder.name}", len(listing.paths), progress
        ) as show:
            return {"x": read_images(listing, channels, size, show).x}

    key = f"images-{cache.fingerprint(listing.paths)}-{channels}x{size}"
    x: NDArray[np.uint8] = cache.cached(key, ("x",), decode)["x"].astype(np.uint8, copy=False)
    return x
