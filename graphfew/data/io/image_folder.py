"""Folders of images: one sub-folder per class, and unlabeled images next to them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphfew.data.class_names import is_split_name, quoted
from graphfew.data.io.image_pixels import (
    SUFFIXES,
    ProgressCallback,
    read_pixels,
    unreadable_reason,
)
from graphfew.data.label_marks import is_default_mark, suggest_argument
from graphfew.data.partially_labeled import Labels, check_labels, parse_labels
from graphfew.data.problems import ItemProblem, raise_problems
from graphfew.errors import DatasetError, InvalidInputError


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


def list_images(
    folder: Path,
    unlabeled: str | None = None,
    unlabeled_marks: Sequence[str] | None = None,
    suggest: Callable[[Sequence[str]], str] = suggest_argument,
    require_classes: bool = True,
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
        require_classes: whether two class folders are needed; otherwise, all images may be
            unlabeled.

    Returns:
        The images, unlabeled ones included.

    Raises:
        DatasetError: the folder has no images, no class folders, these are splits, a class folder
            has no images, or only one class has any.
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
    if require_classes and not any(class_names):
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
    if not paths:
        raise DatasetError(f"{folder} has no images ({', '.join(SUFFIXES)}); give another folder")
    if require_classes:
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


def read_images(
    listing: ImageListing, channels: int, size: int | None, on_progress: ProgressCallback
) -> NDArray[np.uint8]:
    """Read all images, rotated as their EXIF data says, transparent parts white.

    Args:
        listing: from `list_images`.
        channels: 1 for gray, 3 for RGB.
        size: side in pixels of the square that each image is stretched to; None if all images have
            one size.
        on_progress: called with the number of images read.

    Returns:
        The images, `[n, channels, h, w]`.

    Raises:
        BadItemsError: images are damaged; all of them are reported.
    """
    return read_image_files(str(listing.folder), listing.paths, channels, size, on_progress)


def read_image_files(
    origin: str,
    paths: Sequence[Path],
    channels: int,
    size: int | None,
    on_progress: ProgressCallback,
) -> NDArray[np.uint8]:
    """Read images as `read_images` does, given their paths and what messages call them."""
    # Allocated once, when the first image shows the size: stacking a list would hold all images
    # twice.
    x: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
    problems: list[ItemProblem] = []
    for index, path in enumerate(paths):
        try:
            pixels = read_pixels(path, channels, size)
        except DatasetError as error:
            reason = unreadable_reason(path, error.__cause__ or error)
            problems.append(ItemProblem(index, str(path), reason))
            continue
        finally:
            on_progress(index + 1)
        if not len(x):
            x = np.empty((len(paths), *pixels.shape), dtype=np.uint8)
        x[index] = pixels
    raise_problems(origin, problems, "replace or remove {it}")
    return x


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for parent, subfolders, files in os.walk(folder):
        # Assigning to the slice makes os.walk skip the other folders.
        subfolders[:] = [name for name in subfolders if recursive and _is_visible(Path(name))]
        for name in files:
            if _is_visible(Path(name)):
                yield Path(parent, name)


def _is_visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))
