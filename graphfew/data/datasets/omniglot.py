"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

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
from graphfew.data.datasets.rotations import rotated
from graphfew.data.io import archives, cache
from graphfew.data.io.download import fetch
from graphfew.data.io.paths import Root, check_size
from graphfew.errors import DatasetError

DRAWERS = 20
# Bytes and pixels of a side that no image of Omniglot comes near (350 bytes, 105 pixels).
MOST, WIDEST = 100_000, 1000
VALIDATION = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{name}.zip"
# characters, and the checksum of the published file
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
_MEMBER = re.compile(r"[^/]+/([^/]+/character\d+)/(\d{4})_(\d{2})\.png")
_BOTH = ("images_background", "images_evaluation")
# a split: its archives, and which characters of them, by their number (1..1623) and alphabet
_SPLITS: dict[str, tuple[tuple[str, ...], Callable[[int, str], bool]]] = {
    "train": (_BOTH, lambda number, alphabet: number <= 1200 and alphabet not in VALIDATION),
    "train-mirrored": (
        _BOTH,
        lambda number, alphabet: number <= 1200 and alphabet not in VALIDATION,
    ),
    "train-doubled": (
        _BOTH,
        lambda number, alphabet: number <= 1200 and alphabet not in VALIDATION,
    ),
    "val": (_BOTH, lambda number, alphabet: number <= 1200 and alphabet in VALIDATION),
    "trainval": (_BOTH, lambda number, alphabet: number <= 1200),
    "test": (_BOTH, lambda number, alphabet: number > 1200),
    "background": (("images_background",), lambda number, alphabet: True),
    "evaluation": (("images_evaluation",), lambda number, alphabet: True),
    "small1": (("images_background_small1",), lambda number, alphabet: True),
    "small2": (("images_background_small2",), lambda number, alphabet: True),
}


class Incomplete(DatasetError):
    """An archive that is whole and lacks images."""


def omniglot(
    root: Root = None,
    split: str = "train",
    size: int = 28,
    rotations: bool = True,
    progress: bool = True,
) -> Dataset:
    """Omniglot, `[n, 1, size, size]` uint8 with bright strokes on black, 20 items per class, grouped by alphabet.

    Classes are named `Alphabet/characterNN`, and with `rotations` `Alphabet/characterNN/rot090`: four classes of each
    character, turned counter-clockwise. Item facts: `drawer`, 1..20.

    Archives are read without unpacking, from `root`, else from `$GRAPHFEW_DATA/omniglot`, else from the cache, where
    they are downloaded once and checked against the published checksum. Decoded images are cached.

    Args:
        split: `train`, `val`, `trainval`, `test` (Vinyals: 1,028, 172, 1,200 and 423 characters); `background`,
            `evaluation`, `small1`, `small2` (as published: 964, 659, 136 and 156); `train-mirrored`: the mirror images
            of `train`, classes new to an encoder trained on `train` (`Alphabet/characterNN/mirrored/rot090`);
            `train-doubled`: both of these.

    Raises:
        ValueError: an unknown split, or an archive that is damaged or incomplete.
        FileNotFoundError: `root` lacks the archive.
        OSError: the download failed.

    Source: Lake, Salakhutdinov and Tenenbaum, 2015, "Human-level concept learning through probabilistic program
    induction". Splits: Vinyals et al., 2016, "Matching networks for one shot learning", lists of Snell et al., 2017.
    Deviations: reduced from 105x105 by Lanczos resampling, where those papers do not say which they used.
    """
    if split not in _SPLITS:
        raise ValueError(f"unknown Omniglot split {split!r}; known: {', '.join(_SPLITS)}")
    check_size(size)
    files, belongs = _SPLITS[split]
    parts = [_decoded(_archive(root, name, progress), size, progress) for name in files]
    images, names, numbers = (
        np.concatenate([p[key] for p in parts]) for key in ("images", "names", "numbers")
    )
    kept = [i for i, name in enumerate(names) if belongs(int(numbers[i]), name.split("/")[0])]
    return _dataset(split, images[kept], [str(names[i]) for i in kept], rotations)


def _dataset(split: str, images: NDArray[np.uint8], names: list[str], rotations: bool) -> Dataset:
    """`images [characters, drawers, size, size]`."""
    mirrored, seen = images[..., ::-1], [f"{name}/mirrored" for name in names]
    if split.endswith("-mirrored"):
        images, names = mirrored, seen
    if split.endswith("-doubled"):
        images, names = np.concatenate([images, mirrored]), [*names, *seen]
    if rotations:
        images, names = rotated(images, names)
    size = images.shape[-1]
    return Dataset(
        name="omniglot",
        split=split,
        x=torch.from_numpy(np.ascontiguousarray(images).reshape(-1, 1, size, size)),
        y=torch.arange(len(names)).repeat_interleave(DRAWERS),
        classes=tuple(names),
        groups=tuple(name.split("/")[0] for name in names),
        items={"drawer": torch.arange(1, DRAWERS + 1).repeat(len(names))},
    )


def _archive(root: Root, name: str, progress: bool) -> Path:
    file = f"{name}.zip"
    if root is not None:
        if not (Path(root) / file).is_file():
            raise FileNotFoundError(
                f"{Path(root)} has no {file}; put the archive there ({URL.format(name=name)}), "
                f"or leave root out to download it"
            )
        return Path(root) / file
    shared = os.environ.get("GRAPHFEW_DATA")
    if shared and (Path(shared) / "omniglot" / file).is_file():
        return Path(shared) / "omniglot" / file
    return fetch(URL.format(name=name), ARCHIVES[name][1], progress)


def _decoded(path: Path, size: int, progress: bool) -> dict[str, NDArray[Any]]:
    """`images [characters, drawers, size, size]` uint8, `names [characters]` and `numbers [characters]`."""
    return cache.cached(
        f"{path.stem}-{cache.content_key(path)}-{size}",
        ("images", "names", "numbers"),
        lambda: _decode(path, size, progress),
    )


def _decode(path: Path, size: int, progress: bool) -> dict[str, NDArray[Any]]:
    try:
        with archives.opened(path) as archive:
            members = _members(path, archive.namelist())
            shown = cache.progressing(members, f"decoding {path.name}", len(members), progress)
            images = np.stack(
                [_image(archives.read(archive, member[-1], MOST), size) for member in shown]
            )
    except Incomplete:
        raise
    except archives.BROKEN as error:
        raise ValueError(
            f"{path} is damaged ({archives.reason(error)}); delete it and get it again: "
            f"{URL.format(name=path.stem)}"
        ) from error
    characters = members[::DRAWERS]
    return {
        "images": images.reshape(-1, DRAWERS, size, size),
        "names": np.array([m[2] for m in characters]),
        "numbers": np.array([m[0] for m in characters]),
    }


def _members(path: Path, files: list[str]) -> list[tuple[int, int, str, str]]:
    """`(number, drawer, character, file)` of each image, sorted."""
    found = sorted((int(m[2]), int(m[3]), m[1], m[0]) for m in map(_MEMBER.fullmatch, files) if m)
    expected = ARCHIVES[path.stem][0]
    numbers = sorted({number for number, *_ in found})
    complete = [(n, d) for n in numbers for d in range(1, DRAWERS + 1)]
    if len(numbers) != expected or [m[:2] for m in found] != complete:
        raise Incomplete(
            f"{path} is incomplete: {len(found)} images of {len(numbers)} characters, expected "
            f"{expected * DRAWERS} of {expected}; delete it and get it again: "
            f"{URL.format(name=path.stem)}"
        )
    return found


def _image(data: bytes, size: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if max(image.size) > WIDEST:
            raise ValueError(
                f"an image has {image.size[0]}x{image.size[1]} pixels; Omniglot's have 105x105"
            )
        gray = image.convert("L").resize((size, size), Image.Resampling.LANCZOS)
    return 255 - np.asarray(gray)
