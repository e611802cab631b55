"""Folders of images: a sub-folder for each class, and images without a label beside them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from graphfew.data.io import archives
from graphfew.data.partially_labeled import Labels, PartiallyLabeledItems, check_labels

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
UNLABELED = ("unlabeled", "unlabeled")
GREY = ("1", "L", "LA", "La")
# EXIF's tag of how a camera was held, and its values that swap width and height.
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
# What Pillow raises for files that are damaged, inside an archive too.
BROKEN = (*archives.BROKEN, Image.DecompressionBombError)
Show = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class ImageListing:
    """The images of a folder, before any is read.

    Shapes:
        folder: where they are.
        paths: `[n]` of the images, sorted.
        labels: `[n]` the class folder of each; None where it has none.
        left_out: files that are no images by their suffix.
    """

    folder: Path
    paths: tuple[Path, ...]
    labels: Labels
    left_out: int

    @property
    def names(self) -> tuple[str, ...]:
        """`[n]` paths relative to the folder."""
        return tuple(path.relative_to(self.folder).as_posix() for path in self.paths)


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """What the heads of all images say: sizes as (width, height), and whether any image is colored."""

    sizes: tuple[tuple[int, int], ...]
    colored: bool


def list_images(folder: Path, unlabeled: str | None = None) -> ImageListing:
    """The images of a folder by class folder, those below it included; hidden files and folders are left out.

    Args:
        folder: with a sub-folder for each class.
        unlabeled: the sub-folder of images without a label, beside those directly in `folder`; None takes
            "unlabeled" where it is there.

    Raises:
        ValueError: no class folders, a class folder without images, no such unlabeled folder, or one class alone.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and _visible(path))
    if unlabeled is not None and folder / unlabeled not in folders:
        raise ValueError(f"{folder} has no folder {unlabeled!r}; its folders are {_names(folders)}")
    free = UNLABELED if unlabeled is None else (unlabeled,)
    classes = [path for path in folders if path.name not in free]
    if not classes:
        raise ValueError(
            f"{folder} has no class folders; make a sub-folder for each class, named as the class, and "
            "put its labeled images there"
        )
    found: list[tuple[Path, str | None]] = []
    left_out = 0
    for place, label in [
        (folder, None),
        *((path, None if path.name in free else path.name) for path in folders),
    ]:
        files = sorted(_files(place, deep=place != folder))
        images = [
            path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()
        ]  # no pipe, no dead link
        if label is not None and not images:
            raise ValueError(
                f"the class folder {place} has no images ({', '.join(SUFFIXES)}); put some there, or "
                "remove it"
            )
        found += [(path, label) for path in images]
        left_out += len(files) - len(images)
    labels = tuple(label for _, label in found)
    try:
        check_labels(labels)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    return ImageListing(folder, tuple(path for path, _ in found), labels, left_out)


def look(listing: ImageListing, show: Show) -> ImageFormat:
    """Read the head of every image; `show` is told how many are done.

    Raises:
        ValueError: a file that is no image, or one with more than 8 bits per value.
    """
    sizes, colored = [], False
    for done, path in enumerate(listing.paths, 1):
        with _opened(path) as image:
            mode, turned = image.mode, image.getexif().get(ORIENTATION) in SIDEWAYS
            sizes.append(image.size[::-1] if turned else image.size)
        if mode[0] in "IF":
            raise ValueError(
                f"{path} has more than 8 bits per value (mode {mode}); convert it to 8 bits"
            )
        colored |= mode not in GREY
        show(done)
    return ImageFormat(tuple(sizes), colored)


def check_sizes(listing: ImageListing, sizes: Sequence[tuple[int, int]]) -> None:
    """Raises ValueError where the images are not all of one size."""
    other = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        (first, second), names = (sizes[0], sizes[other]), listing.names
        raise ValueError(
            f"the images differ in size: {names[0]} is {first[0]}x{first[1]} and {names[other]} "
            f"{second[0]}x{second[1]}; give --size, such as --size 32, to bring all to one"
        )


def read_images(
    listing: ImageListing, channels: int, size: int | None, show: Show
) -> PartiallyLabeledItems:
    """All images, uint8 `[n, channels, h, w]`, upright as the camera was held, see-through parts white.

    Args:
        listing: of `list_images`.
        channels: 1 for gray, 3 for red, green and blue.
        size: stretch each to a square of so many pixels; None leaves them, which must then be of one size.
        show: is told how many are done.

    Raises:
        ValueError: a broken image.
    """
    rows: Iterable[NDArray[np.uint8]] = (_pixels(path, channels, size) for path in listing.paths)
    out: NDArray[Any] = np.empty(0, dtype=np.uint8)
    for i, row in enumerate(rows):
        out = np.empty((len(listing.paths), *row.shape), dtype=np.uint8) if i == 0 else out
        out[i] = row
        show(i + 1)
    return PartiallyLabeledItems(out, listing.labels, listing.names)


def _pixels(path: Path, channels: int, size: int | None) -> NDArray[np.uint8]:
    """`[channels, h, w]`."""
    with _opened(path) as image:
        whole = _opaque(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
        if size is not None and whole.size != (size, size):
            whole = whole.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(whole)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    drawn = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except BROKEN as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}); replace or remove it"
        ) from error


def _files(place: Path, *, deep: bool) -> Iterator[Path]:
    for parent, folders, files in os.walk(place):
        folders[:] = [name for name in folders if deep and _visible(Path(name))]
        yield from (Path(parent, name) for name in files if _visible(Path(name)))


def _visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(path.name for path in folders) or "none"
