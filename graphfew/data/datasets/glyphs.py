"""Glyphs: printed characters of scripts never seen in training, drawn here, so that nothing is downloaded."""

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

ITEMS = 20
SCRIPTS = {
    "train": ("LATIN", "DIGIT", "GREEK", "CYRILLIC"),
    "val": ("GEORGIAN",),
    "test": ("ARMENIAN", "LAO"),
}


def glyphs(split: str = "train", size: int = 28, seed: int = 0, progress: bool = True) -> Dataset:
    """Printed letters and digits of the twelve DejaVu faces, jittered; `[n, 1, size, size]` uint8, bright on black.

    Each class is one character, named as Unicode names it, with 20 items; its group is its script. Train is Latin,
    Greek, Cyrillic and ASCII digits (467 classes), val is Georgian (117), test is Armenian and Lao (101): scripts that
    training never sees. Item facts: `face` (0..11), `codepoint`.

    A character belongs where at least 8 of the 12 faces have it (Lao and part of Georgian have exactly 8) and it does
    not decompose into others. The 20 items take its faces in turn. Characters that look like an earlier one are left
    out, test before val before train, so that no two classes are alike, within a split or across splits (with another
    FreeType a few classes may differ). Jitter: stroke width, turn, slant, scale, place, a smooth warp, brightness and
    noise. An item depends on seed, character and its number alone. Pictures are cached.

    Raises:
        ValueError: an unknown split, a size below 8, or a negative seed.

    Source: the DejaVu fonts 2.37, as matplotlib carries them.
    """
    if split not in SCRIPTS:
        raise ValueError(f"unknown glyphs split {split!r}; known: {', '.join(SCRIPTS)}")
    if size < 8 or seed < 0:
        raise ValueError(
            f"size is {size} and seed {seed}; size must be at least 8 pixels and seed 0 or more"
        )
    key = (
        f"glyphs-{split}-{size}-{seed}-matplotlib{version('matplotlib')}-pillow{version('pillow')}"
    )
    drawn = cache.cached(
        key, ("images", "codes", "faces"), partial(_draw, split, size, seed, progress)
    )
    names = [unicodedata.name(chr(code)) for code in drawn["codes"].tolist()]
    codes = torch.from_numpy(drawn["codes"])
    return Dataset(
        name="glyphs",
        split=split,
        x=torch.from_numpy(drawn["images"].reshape(-1, 1, size, size)),
        y=torch.arange(len(names)).repeat_interleave(ITEMS),
        classes=tuple(names),
        groups=tuple(name.split()[0].capitalize() for name in names),
        items={
            "face": torch.from_numpy(drawn["faces"].reshape(-1)),
            "codepoint": codes.repeat_interleave(ITEMS),
        },
    )


def _draw(split: str, size: int, seed: int, progress: bool) -> dict[str, NDArray[Any]]:
    """`images [classes, ITEMS, size, size]`, `codes [classes]`, `faces [classes, ITEMS]`."""
    from graphfew.data.datasets import _glyph_rendering

    covered = _glyph_rendering.coverage()
    codes = _codes(split)
    faces = np.array(
        [[covered[code][i % len(covered[code])] for i in range(ITEMS)] for code in codes]
    )
    fonts = [_glyph_rendering.load_face(face) for face in _glyph_rendering.FACES]
    shown = cache.progressing(
        zip(codes, faces, strict=True), f"drawing glyphs ({split})", len(codes), progress
    )
    images = [
        [
            _glyph_rendering.picture(
                fonts[face], chr(code), size, np.random.default_rng([seed, code, item])
            )
            for item, face in enumerate(row)
        ]
        for code, row in shown
    ]
    return {"images": np.array(images), "codes": np.array(codes), "faces": faces}


def _codes(split: str) -> list[int]:
    """The split's characters, in the order of its scripts: those unlike all of test, val and train before them."""
    from graphfew.data.datasets import _glyph_rendering

    covered = _glyph_rendering.coverage()
    split_of = {
        code: name
        for name in ("test", "val", "train")
        for script in SCRIPTS[name]
        for code in _glyph_rendering.letters(script, covered)
    }
    return [code for code in _glyph_rendering.distinct(split_of) if split_of[code] == split]
