"""Glyphs: printed characters, rendered locally, with other scripts for training and test."""

from __future__ import annotations

import unicodedata
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew.data.dataset import Dataset
from graphfew.data.io import cache
from graphfew.data.io.progress import with_progress
from graphfew.data.splits import Splits
from graphfew.errors import InvalidInputError

ITEMS_PER_CLASS = 20
MIN_SIZE = 8
_SCRIPTS = {
    "train": ("LATIN", "DIGIT", "GREEK", "CYRILLIC"),
    "val": ("GEORGIAN",),
    "test": ("ARMENIAN", "LAO"),
}
GLYPHS_SPLITS = Splits(tuple(_SCRIPTS))


def glyphs(split: str = "train", size: int = 28, seed: int = 0, progress: bool = True) -> Dataset:
    """Load printed letters and digits with jitter, bright on black, 20 items per class.

    Each class is a character, named as in Unicode; its group is its script. Metadata: `face`
    (0..11) and `codepoint`.

    A character is included if at least 8 of the 12 DejaVu faces contain it and it does not
    decompose into others. Its items use its faces in turn. Characters that look like another one
    are removed, test before val before train, so that no two classes are alike, within a split or
    across splits (another version of FreeType may change a few classes). Jitter affects stroke
    width, rotation, slant, scale, position, a smooth warp, brightness and noise. An item depends
    on the seed, its character and its number alone. Images are cached.

    Args:
        split: `train` (Latin, Greek, Cyrillic and ASCII digits, 467 classes), `val` (Georgian, 117)
            or `test` (Armenian and Lao, 101).
        size: side of the images in pixels, at least 8.
        seed: seed of the jitter.
        progress: show a bar.

    Returns:
        A data set with `x` `[n, 1, size, size]` uint8.

    Raises:
        InvalidInputError: an unknown split, a size below 8, or a negative seed.

    Example:
        >>> glyphs("test", progress=False)
        Dataset('glyphs', split='test', 101 classes, 2020 items of shape [1, 28, 28] uint8)

    Source:
        The DejaVu fonts 2.37, which matplotlib includes.
    """
    GLYPHS_SPLITS.check("glyphs", split)
    if size < MIN_SIZE or seed < 0:
        raise InvalidInputError(
            f"size is {size} and seed {seed}; size must be at least {MIN_SIZE} pixels and seed 0 "
            "or more"
        )
    # Both libraries affect the rendering.
    versions = f"matplotlib{version('matplotlib')}-pillow{version('pillow')}"
    rendered = cache.load_or_build(
        f"glyphs-{split}-{size}-{seed}-{versions}",
        ("images", "codes", "faces"),
        partial(_render, split, size, seed, progress),
    )
    codes = rendered["codes"]
    names = [unicodedata.name(chr(code)) for code in codes.tolist()]
    return Dataset(
        name="glyphs",
        split=split,
        x=torch.from_numpy(rendered["images"].reshape(-1, 1, size, size)),
        y=torch.arange(len(names)).repeat_interleave(ITEMS_PER_CLASS),
        classes=tuple(names),
        groups=tuple(name.split()[0].capitalize() for name in names),
        metadata={
            "face": torch.from_numpy(rendered["faces"].reshape(-1)),
            "codepoint": torch.from_numpy(codes).repeat_interleave(ITEMS_PER_CLASS),
        },
    )


def _render(split: str, size: int, seed: int, progress: bool) -> dict[str, NDArray[Any]]:
    """Return images `[C, items, size, size]`, code points `[C]` and faces `[C, items]`."""
    from graphfew.data.datasets import _glyph_rendering  # imports matplotlib

    faces_of_code = _glyph_rendering.find_coverage()
    codes = _select_codes(split)
    fonts = [_glyph_rendering.load_face(face) for face in _glyph_rendering.FACES]
    images, faces = [], []
    for code in with_progress(codes, f"rendering glyphs ({split})", len(codes), progress):
        available = faces_of_code[code]
        class_faces = [available[item % len(available)] for item in range(ITEMS_PER_CLASS)]
        class_images = []
        for item, face in enumerate(class_faces):
            # A generator per item: a common one would make an item depend on those before it.
            rng = np.random.default_rng([seed, code, item])
            image = _glyph_rendering.render_character(fonts[face], chr(code), size, rng)
            class_images.append(image)
        images.append(class_images)
        faces.append(class_faces)
    return {"images": np.array(images), "codes": np.array(codes), "faces": np.array(faces)}


def _select_codes(split: str) -> list[int]:
    """Return the code points of a split by script, without look-alikes in other splits."""
    from graphfew.data.datasets import _glyph_rendering

    faces_of_code = _glyph_rendering.find_coverage()
    split_of_code = {}
    # The test split comes first, so that look-alikes are removed from the training split.
    for name in ("test", "val", "train"):
        for script in _SCRIPTS[name]:
            for code in _glyph_rendering.find_letters(script, faces_of_code):
                split_of_code[code] = name
    distinct = _glyph_rendering.remove_lookalikes(split_of_code)
    return [code for code in distinct if split_of_code[code] == split]
