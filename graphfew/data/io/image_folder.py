"""Folders of images: one sub-folder per class, and unlabeled images next to them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from graphfew.data.class_names import is_split_name, quoted
from graphfew.data.io import archives
from graphfew.data.label_marks import is_default_mark, suggest_argument
from graphfew.data.partially_labeled import (
    Labels,
    PartiallyLabeledItems,
    check_labels,
    parse_labels,
)
from graphfew.errors import DatasetError, InvalidInputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# What Pillow raises for damaged files, also inside an archive.
READ_ERRORS = (*archives.READ_ERRORS, Image.DecompressionBombError)
ProgressCallback = Callable[[int], None]

_GRAY_MODES = ("1", "L", "LA", "La")
# The EXIF tag for the orientation of the camera, and its values that swap width and height.
_ORIENTATION_TAG = 0x0112
_ROTATED_BY_90_DEGREES = (5, 6, 7, 8)


@dataclasses.dataclass(frozen=True)
class ImageListing:
    """The images of a folder, before any is read.

    Attributes:
        folder: the folder.
        paths: `[n]` path of each image, sorted within its class.
        labels: `[n]` name of the class folder of each image; None for unlabeled images.
        n_skipped: number of files without the suffix of an image.

    Example:
        >>> paths = (Path("photos/cat/1.png"),)
        >>> listing = ImageListing(Path("photos"), paths, ("cat",), n_skipped=0)
        >>> listing.names
        ('cat/1.png',)
    """

    folder: Path
    paths: tuple[Path, ...]
    labels: Labels
    n_skipped: int

    @property
    def names(self) -> tuple[str, ...]:
        """`[n]` path of each image, relative to the folder."""
        return tuple(path.relative_to(self.folder).as_posix() for path in self.paths)

    def select(self, condition: Callable[[str | None], bool]) -> ImageListing:
        """Return the images whose label meets a condition."""
        paths, labels = [], []
        for path, label in zip(self.paths, self.labels, strict=True):
            if condition(label):
                paths.append(path)
                labels.append(label)
        return dataclasses.replace(self, paths=tuple(paths), labels=tuple(labels))


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """What the headers of a set of images state.

    Attributes:
        sizes: `[n]` (width, height) of each image.
        colored: whether any image has color.
    """

    sizes: tuple[tuple[int, int], ...]
    colored: bool


def list_images(
    folder: Path,
    unlabeled: str | None = None,
    unlabeled_marks: Sequence[str] | None = None,
    suggest: Callable[[Sequence[str]], str] = suggest_argument,
) -> ImageListing:
    """List the images of a folder by class.

    Hidden files and folders are skipped; sub-folders of classes are included. Folder names are
    labels, and what is ambiguous is reported by a warning.

    Args:
        folder: a folder with a sub-folder for each class. Images directly in it are unlabeled.
        unlabeled: name of a sub-folder with more unlabeled images; None decides by
            `unlabeled_marks`.
        unlabeled_marks: names of sub-folders with more unlabeled images, if they exist; None takes
            the default ones (see `graphfew.data.labels.resolve_labels`).
        suggest: describes how the caller sets the marks.

    Returns:
        The images, unlabeled ones included.

    Raises:
        DatasetError: the folder has no class folders, these are splits, a class folder has no
            images, or only one class has any.
        InvalidInputError: the folder `unlabeled` does not exist.
    """
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path))
    if unlabeled is not None and folder / unlabeled not in subfolders:
        names = ", ".join(path.name for path in subfolders) or "none"
        raise InvalidInputError(f"{folder} has no folder {unlabeled!r}; its folders are {names}")
    _check_splits(folder, subfolders)
    # Only images directly in the folder are unlabeled: below it, sub-folders are classes.
    folders = (folder, *subfolders)
    files = [sorted(_walk(path, recursive=path != folder)) for path in folders]
    images = [[path for path in paths if _is_image(path)] for paths in files]
    marks = unlabeled_marks if unlabeled is None else (unlabeled,)
    class_names = _class_names(subfolders, [len(paths) for paths in images[1:]], marks, suggest)
    if not any(class_names):
        raise DatasetError(
            f"{folder} has no class folders; create a sub-folder for each class, named after the "
            "class, and put its labeled images there"
        )
    paths: list[Path] = []
    labels: list[str | None] = []
    for subfolder, class_name, found in zip(folders, (None, *class_names), images, strict=True):
        if not found and class_name is not None:
            raise DatasetError(
                f"the class folder {subfolder} has no images ({', '.join(SUFFIXES)}); add some or "
                "remove it"
            )
        paths += found
        labels += [class_name] * len(found)
    n_skipped = sum(map(len, files)) - len(paths)
    try:
        check_labels(tuple(labels))
    except InvalidInputError as error:
        raise DatasetError(f"{folder}: {error}") from error
    return ImageListing(folder, tuple(paths), tuple(labels), n_skipped)


def _is_image(path: Path) -> bool:
    # `is_file` excludes pipes and dead links.
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _class_names(
    subfolders: Sequence[Path],
    n_images: Sequence[int],
    marks: Sequence[str] | None,
    suggest: Callable[[Sequence[str]], str],
) -> list[str | None]:
    """The class of each folder; None if its images are unlabeled."""
    texts: list[str] = []
    first_positions: list[int] = []
    for subfolder, n in zip(subfolders, n_images, strict=True):
        first_positions.append(len(texts))
        # One label for each image, because messages state their number.
        texts += [subfolder.name] * max(n, 1)
    labels = parse_labels(texts, marks, suggest)
    return [labels[position] for position in first_positions]


def _check_splits(folder: Path, subfolders: Sequence[Path]) -> None:
    """Raise DatasetError if the folders are splits, such as train and test, instead of classes."""
    splits = [path.name for path in subfolders if is_split_name(path.name)]
    others = [path.name for path in subfolders if path.name not in splits]
    # A single one may be a class: a train next to a bus. Two are no classes of one problem.
    if len(splits) > 1 or (splits and all(is_default_mark(name) for name in others)):
        raise DatasetError(
            f"{folder} has splits instead of class folders: {quoted(splits)}; give one of them instead, "
            f"such as {folder / splits[-1]}, or rename them if they are classes"
        )


def read_image_format(listing: ImageListing, on_progress: ProgressCallback) -> ImageFormat:
    """Read the header of every image.

    Args:
        listing: from `list_images`.
        on_progress: called with the number of images read.

    Raises:
        DatasetError: a file is not an image, or has more than 8 bits per value.
    """
    sizes: list[tuple[int, int]] = []
    colored = False
    for count, path in enumerate(listing.paths, 1):
        with _open_image(path) as image:
            mode = image.mode
            width, height = image.size
            if image.getexif().get(_ORIENTATION_TAG) in _ROTATED_BY_90_DEGREES:
                width, height = height, width
        # Pillow's modes "I", "I;16" and "F" have 16 or 32 bits.
        if mode.startswith(("I", "F")):
            raise DatasetError(
                f"{path} has more than 8 bits per value (mode {mode}); convert it to 8 bits"
            )
        sizes.append((width, height))
        colored = colored or mode not in _GRAY_MODES
        on_progress(count)
    return ImageFormat(tuple(sizes), colored)


def check_sizes(listing: ImageListing, sizes: Sequence[tuple[int, int]]) -> None:
    """Raise DatasetError if the images do not have the same size."""
    for name, size in zip(listing.names, sizes, strict=True):
        if size != sizes[0]:
            (width, height), (other_width, other_height) = sizes[0], size
            raise DatasetError(
                f"the images differ in size: {listing.names[0]} is {width}x{height} and {name} "
                f"{other_width}x{other_height}; resize them all with --size, such as --size 32"
            )


def read_images(
    listing: ImageListing, channels: int, size: int | None, on_progress: ProgressCallback
) -> PartiallyLabeledItems:
    """Read all images, rotated as their EXIF data says, transparent parts white.

    Args:
        listing: from `list_images`.
        channels: 1 for gray, 3 for RGB.
        size: side in pixels of the square that each image is stretched to; None if all images have
            one size.
        on_progress: called with the number of images read.

    Returns:
        The items, with `x` `[n, channels, h, w]` uint8.

    Raises:
        DatasetError: an image is damaged.
    """
    # Allocated once, when the first image shows the size: stacking a list would hold all images
    # twice.
    x: NDArray[Any] = np.empty(0, dtype=np.uint8)
    for index, path in enumerate(listing.paths):
        pixels = _read_pixels(path, channels, size)
        if index == 0:
            x = np.empty((len(listing.paths), *pixels.shape), dtype=np.uint8)
        x[index] = pixels
        on_progress(index + 1)
    return PartiallyLabeledItems(x, listing.labels, listing.names)


def _read_pixels(path: Path, channels: int, size: int | None) -> NDArray[np.uint8]:
    """Return an image as `[channels, h, w]`."""
    with _open_image(path) as image:
        upright = ImageOps.exif_transpose(image)
        converted = _on_white(upright).convert("L" if channels == 1 else "RGB")
        if size is not None and converted.size != (size, size):
            converted = converted.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(converted)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _on_white(image: Image.Image) -> Image.Image:
    """Put a transparent image on a white background."""
    if not image.has_transparency_data:
        return image
    # Conversion to RGB alone would show the arbitrary colors of transparent pixels.
    foreground = image.convert("RGBA")
    background = Image.new("RGBA", foreground.size, "white")
    return Image.alpha_composite(background, foreground)


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    try:
        # Pillow decodes lazily: what the caller does with the image may raise as well.
        with Image.open(path) as image:
            yield image
    except READ_ERRORS as error:
        raise DatasetError(
            f"{path} cannot be read as an image ({error}); replace or remove it"
        ) from error


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for parent, subfolders, files in os.walk(folder):
        # Assigning to the slice makes os.walk skip the other folders.
        subfolders[:] = [name for name in subfolders if recursive and _is_visible(Path(name))]
        for name in files:
            if _is_visible(Path(name)):
                yield Path(parent, name)


def _is_visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))
