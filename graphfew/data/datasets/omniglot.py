"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.rotations import rotate_classes
from graphfew.data.io import archives, cache
from graphfew.data.io.download import download
from graphfew.data.io.paths import Root, check_image_size
from graphfew.data.io.progress import with_progress
from graphfew.data.splits import Splits
from graphfew.errors import DatasetError, DatasetNotFoundError

N_DRAWERS = 20
# Limits that no image of Omniglot comes near (350 bytes, 105 pixels a side).
MAX_IMAGE_BYTES = 100_000
MAX_SIDE = 1000
URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{name}.zip"
# The number of characters and the checksum of each published archive.
ARCHIVES = {
    "images_background": (964, "md5:68d2efa1b9178cc56df9314c21c6e718"),
    "images_evaluation": (659, "md5:6b91aef0f799c5bb55b94e3f2daec811"),
    "images_background_small1": (
        136,
        "sha256:f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
    ),
    "images_background_small2": (
        156,
        "sha256:3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
    ),
}
# Folder, alphabet and character; then the numbers of the character and of its drawer.
_ENTRY = re.compile(r"[^/]+/([^/]+/character\d+)/(\d{4})_(\d{2})\.png")
_VALIDATION_ALPHABETS = (
    "Armenian",
    "Bengali",
    "Early_Aramaic",
    "Hebrew",
    "Mkhedruli_(Georgian)",
)
# Vinyals et al. train on the first 1,200 characters of both archives.
_N_TRAINING_CHARACTERS = 1200
_BOTH = ("images_background", "images_evaluation")


def _is_train(number: int, alphabet: str) -> bool:
    return number <= _N_TRAINING_CHARACTERS and alphabet not in _VALIDATION_ALPHABETS


def _is_val(number: int, alphabet: str) -> bool:
    return number <= _N_TRAINING_CHARACTERS and alphabet in _VALIDATION_ALPHABETS


def _is_trainval(number: int, alphabet: str) -> bool:
    del alphabet
    return number <= _N_TRAINING_CHARACTERS


def _is_test(number: int, alphabet: str) -> bool:
    del alphabet
    return number > _N_TRAINING_CHARACTERS


def _is_any(number: int, alphabet: str) -> bool:
    del number, alphabet
    return True


# For each split its archives, and the characters of them by number (1..1623) and alphabet.
_SPLIT_SOURCES: dict[str, tuple[tuple[str, ...], Callable[[int, str], bool]]] = {
    "train": (_BOTH, _is_train),
    "train-mirrored": (_BOTH, _is_train),
    "train-doubled": (_BOTH, _is_train),
    "val": (_BOTH, _is_val),
    "trainval": (_BOTH, _is_trainval),
    "test": (_BOTH, _is_test),
    "background": (("images_background",), _is_any),
    "evaluation": (("images_evaluation",), _is_any),
    "small1": (("images_background_small1",), _is_any),
    "small2": (("images_background_small2",), _is_any),
}
OMNIGLOT_SPLITS = Splits(tuple(_SPLIT_SOURCES), test=("test", "evaluation"))


class IncompleteArchiveError(DatasetError):
    """An archive that is not damaged, but lacks images."""


@dataclasses.dataclass(frozen=True, order=True)
class ArchiveImage:
    """An image of an archive; images are sorted by number and drawer.

    Attributes:
        number: number of the character, 1..1623.
        drawer: number of the person who drew it, 1..20.
        name: `Alphabet/characterNN`.
        entry: name of the archive entry.
    """

    number: int
    drawer: int
    name: str
    entry: str


def omniglot(
    root: Root = None,
    split: str = "train",
    size: int = 28,
    rotations: bool = True,
    progress: bool = True,
) -> Dataset:
    """Load Omniglot, with bright strokes on black, 20 items per class, grouped by alphabet.

    Classes are named `Alphabet/characterNN`, with metadata `drawer`, 1..20. Archives are read
    without extraction, from `root`, else from `$GRAPHFEW_DATA/omniglot`, else from the cache, where
    they are downloaded once and compared with the published checksum. Decoded images are cached.

    Args:
        root: the folder of the archives; None takes the other two places.
        split: `train`, `val`, `trainval` or `test` (Vinyals: 1,028, 172, 1,200 and 423 characters);
            `background`, `evaluation`, `small1` or `small2` (as published: 964, 659, 136 and 156);
            `train-mirrored`, the mirror images of `train`, which are new classes to an encoder
            trained on `train` (`Alphabet/characterNN/mirrored/rot090`); `train-doubled`, both of
            these.
        size: side of the images in pixels.
        rotations: make four classes of each character, rotated counter-clockwise and named
            `Alphabet/characterNN/rot090`.
        progress: show bars.

    Returns:
        A data set with `x` `[n, 1, size, size]` uint8.

    Raises:
        InvalidInputError: an unknown split, or a size below 1.
        DatasetError: an archive is damaged or incomplete.
        DatasetNotFoundError: `root` lacks the archive.
        DownloadError: the download failed.

    Example:
        >>> omniglot("omniglot/", split="test", rotations=False)  # doctest: +SKIP
        Dataset('omniglot', split='test', 423 classes, 8460 items of shape [1, 28, 28] uint8)

    Source:
        Lake, Salakhutdinov and Tenenbaum, 2015, "Human-level concept learning through probabilistic
        program induction". Splits of Vinyals et al., 2016, "Matching networks for one shot
        learning", with the lists of Snell et al., 2017.

    Deviations:
        Reduced from 105x105 by Lanczos resampling; those papers do not state their method.
    """
    OMNIGLOT_SPLITS.check("omniglot", split)
    check_image_size(size)
    archive_names, belongs_to_split = _SPLIT_SOURCES[split]
    parts = [
        _load_archive(_find_archive(root, name, progress), size, progress) for name in archive_names
    ]
    images = np.concatenate([part["images"] for part in parts])
    names = np.concatenate([part["names"] for part in parts]).tolist()
    numbers = np.concatenate([part["numbers"] for part in parts]).tolist()
    selected = []
    for index, (name, number) in enumerate(zip(names, numbers, strict=True)):
        alphabet = name.split("/")[0]
        if belongs_to_split(number, alphabet):
            selected.append(index)
    return _build_dataset(split, images[selected], [names[index] for index in selected], rotations)


def _build_dataset(
    split: str, images: NDArray[np.uint8], names: list[str], rotations: bool
) -> Dataset:
    """Build the data set from images `[characters, drawers, size, size]`."""
    mirrored_images = images[..., ::-1]
    mirrored_names = [f"{name}/mirrored" for name in names]
    if split.endswith("-mirrored"):
        images, names = mirrored_images, mirrored_names
    elif split.endswith("-doubled"):
        images = np.concatenate([images, mirrored_images])
        names = [*names, *mirrored_names]
    if rotations:
        images, names = rotate_classes(images, names)
    size = images.shape[-1]
    return Dataset(
        name="omniglot",
        split=split,
        # torch cannot represent the negative strides of the mirrored view.
        x=torch.from_numpy(np.ascontiguousarray(images).reshape(-1, 1, size, size)),
        y=torch.arange(len(names)).repeat_interleave(N_DRAWERS),
        classes=tuple(names),
        groups=tuple(name.split("/")[0] for name in names),
        metadata={"drawer": torch.arange(1, N_DRAWERS + 1).repeat(len(names))},
    )


def find_omniglot_file(root: Root, file: str, url: str, checksum: str, progress: bool) -> Path:
    """Find an archive of Omniglot in `root` or `$GRAPHFEW_DATA`, or download it.

    Raises:
        DatasetNotFoundError: `root` does not have the file.
        DownloadError: the download failed.
    """
    if root is not None:
        path = Path(root) / file
        if not path.is_file():
            raise DatasetNotFoundError(
                f"{Path(root)} has no {file}; put the archive there ({url}), or omit root to "
                "download it"
            )
        return path
    data_folder = os.environ.get("GRAPHFEW_DATA")
    if data_folder:
        path = Path(data_folder) / "omniglot" / file
        if path.is_file():
            return path
    return download(url, checksum, progress)


def _find_archive(root: Root, name: str, progress: bool) -> Path:
    _, checksum = ARCHIVES[name]
    return find_omniglot_file(root, f"{name}.zip", URL.format(name=name), checksum, progress)


def _load_archive(path: Path, size: int, progress: bool) -> dict[str, NDArray[Any]]:
    """Return images `[characters, drawers, size, size]`, names and numbers `[characters]`."""
    return cache.load_or_build(
        f"{path.stem}-{cache.content_key(path)}-{size}",
        ("images", "names", "numbers"),
        lambda: _decode_archive(path, size, progress),
    )


def _decode_archive(path: Path, size: int, progress: bool) -> dict[str, NDArray[Any]]:
    try:
        with archives.open_zip(path) as archive:
            listing = _list_images(path, archive.namelist())
            decoded = []
            for image in with_progress(listing, f"decoding {path.name}", len(listing), progress):
                data = archives.read_entry(archive, image.entry, MAX_IMAGE_BYTES)
                decoded.append(decode_image(data, size))
    # Its message is complete; as a ValueError it would be reported as damage below.
    except IncompleteArchiveError:
        raise
    except archives.READ_ERRORS as error:
        raise DatasetError(
            f"{path} is damaged ({archives.one_line(error)}); delete it and get it again: "
            f"{URL.format(name=path.stem)}"
        ) from error
    # The listing is sorted and complete, so every 20th image starts a character.
    first_of_each_character = listing[::N_DRAWERS]
    return {
        "images": np.stack(decoded).reshape(-1, N_DRAWERS, size, size),
        "names": np.array([image.name for image in first_of_each_character]),
        "numbers": np.array([image.number for image in first_of_each_character]),
    }


def _list_images(path: Path, entries: list[str]) -> list[ArchiveImage]:
    """List the images of an archive, sorted, and check that none is missing."""
    images = []
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is not None:
            name, number, drawer = match.groups()
            images.append(ArchiveImage(int(number), int(drawer), name, entry))
    images.sort()
    n_characters, _ = ARCHIVES[path.stem]
    numbers = sorted({image.number for image in images})
    expected = [(number, drawer) for number in numbers for drawer in range(1, N_DRAWERS + 1)]
    present = [(image.number, image.drawer) for image in images]
    if len(numbers) != n_characters or present != expected:
        raise IncompleteArchiveError(
            f"{path} is incomplete: {len(images)} images of {len(numbers)} characters, expected "
            f"{n_characters * N_DRAWERS} of {n_characters}; delete it and get it again: "
            f"{URL.format(name=path.stem)}"
        )
    return images


def decode_image(data: bytes, size: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        # Checked before the pixels are decoded: a small PNG can state a huge size.
        if max(image.size) > MAX_SIDE:
            width, height = image.size
            raise DatasetError(f"an image has {width}x{height} pixels; Omniglot's have 105x105")
        gray = image.convert("L").resize((size, size), Image.Resampling.LANCZOS)
    # The published images have black strokes on white.
    return 255 - np.asarray(gray)
