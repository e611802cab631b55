"""Drawing glyphs: which characters the DejaVu faces have, and one jittered picture of a character."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SANS = ("", "-Bold", "-Oblique", "-BoldOblique")
SERIF = ("", "-Bold", "-Italic", "-BoldItalic")
FACES = (
    *(f"DejaVuSans{s}" for s in SANS),
    *(f"DejaVuSansMono{s}" for s in SANS),
    *(f"DejaVuSerif{s}" for s in SERIF),
)
FEWEST_FACES = 8
ALIKE = 0.15
POINTS = 96  # height of the type that pictures are made from
CANVAS = 112  # side of the picture before it is reduced
KNOTS = 4  # the warp moves a grid of KNOTS x KNOTS points
SHAPE = 32  # side of the pictures that are compared for likeness


def face_path(face: str) -> Path:
    """The file of a face, among those that matplotlib carries."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


def load_face(face: str) -> ImageFont.FreeTypeFont:
    """The face at the size that pictures are made from."""
    return ImageFont.truetype(str(face_path(face)), POINTS, layout_engine=ImageFont.Layout.BASIC)


def coverage() -> dict[int, tuple[int, ...]]:
    """For each code point the indices of the faces that have it, ascending."""
    found: dict[int, list[int]] = {}
    for number, face in enumerate(FACES):
        for code in FT2Font(str(face_path(face))).get_charmap():
            found.setdefault(int(code), []).append(number)
    return {code: tuple(numbers) for code, numbers in sorted(found.items())}


def letters(script: str, covered: dict[int, tuple[int, ...]]) -> list[int]:
    """Letters and decimal digits of a script, by code point, that at least `FEWEST_FACES` faces have.

    A script is the first word of a character's Unicode name. Characters that decompose (accented, compatibility) are
    left out: they differ from another one by a mark, or not at all.
    """

    def belongs(character: str) -> bool:
        return (
            unicodedata.category(character) in ("Lu", "Ll", "Lo", "Nd")
            and unicodedata.name(character).split()[0] == script
            and not unicodedata.decomposition(character)
        )

    return [
        code for code, faces in covered.items() if len(faces) >= FEWEST_FACES and belongs(chr(code))
    ]


def distinct(codes: Iterable[int]) -> list[int]:
    """The code points whose shape in DejaVu Sans differs from that of every earlier one that is kept.

    Shapes are cropped to their ink and brought to one size, so a small letter that is its capital made smaller is
    alike too; they are alike where `|a - b|² < ALIKE |a| |b|`.
    """
    face = load_face(FACES[0])
    kept: list[int] = []
    shapes = np.zeros((0, SHAPE * SHAPE))
    for code in codes:
        shape = _shape(face, chr(code))
        difference = ((shapes - shape) ** 2).sum(1)
        if not (difference < ALIKE * np.linalg.norm(shape) * np.linalg.norm(shapes, axis=1)).any():
            kept.append(code)
            shapes = np.concatenate([shapes, shape[None]])
    return kept


def picture(
    face: ImageFont.FreeTypeFont, character: str, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """`[size, size]` uint8, bright on black: stroke width, slant, turn, scale, place, warp and noise from `rng`."""
    ink = _ink(face, character, stroke=_extra_stroke(face, character, rng))
    warped = ink.transform(
        (CANVAS, CANVAS),
        Image.Transform.MESH,
        _mesh(_source_points(ink.size, rng)),
        Image.Resampling.BILINEAR,
    )
    small = np.asarray(warped.resize((size, size), Image.Resampling.LANCZOS), dtype=np.float64)
    noise = rng.normal(0, rng.uniform(5, 25), (size, size))
    return np.clip(np.rint(small * rng.uniform(0.75, 1.0) + noise), 0, 255).astype(np.uint8)


def _ink(face: ImageFont.FreeTypeFont, character: str, stroke: int = 0) -> Image.Image:
    """The character alone, cropped to its ink, mode `L`."""
    left, top, right, bottom = (int(side) for side in face.getbbox(character, stroke_width=stroke))
    image = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(image).text(
        (1 - left, 1 - top), character, fill=255, font=face, stroke_width=stroke
    )
    return image.crop(image.getbbox())


def _extra_stroke(face: ImageFont.FreeTypeFont, character: str, rng: np.random.Generator) -> int:
    """Pixels to add around the strokes, in proportion to the character: few to a bold face, whose gaps would close."""
    left, top, right, bottom = face.getbbox(character)
    most = 0.02 if "Bold" in str(face.getname()[1]) else 0.06
    return int(rng.uniform(0, most) * max(right - left, bottom - top) + 0.5)


def _shape(face: ImageFont.FreeTypeFont, character: str) -> NDArray[np.float64]:
    ink = _ink(face, character)
    scale = SHAPE / max(ink.size)
    width, height = (max(1, round(scale * side)) for side in ink.size)
    square = Image.new("L", (SHAPE, SHAPE))
    square.paste(
        ink.resize((width, height), Image.Resampling.BOX),
        ((SHAPE - width) // 2, (SHAPE - height) // 2),
    )
    values: NDArray[np.float64] = np.asarray(square, dtype=np.float64).ravel() / 255
    return values


def _source_points(ink: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """`[KNOTS, KNOTS, 2]`: the point of the ink image shown at each knot of the canvas."""
    turn, slant = rng.normal(0, np.deg2rad(7)), rng.normal(0, 0.1)
    zoom = max(ink) / (CANVAS * rng.uniform(0.64, 0.8)) * np.exp(rng.normal(0, 0.06, 2))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.diag(zoom) @ np.array([[1, slant], [0, 1]]) @ rotation
    steps = np.linspace(-CANVAS / 2, CANVAS / 2, KNOTS)
    knots = np.stack(np.meshgrid(steps, steps), axis=-1)
    moved = (
        knots + rng.normal(0, CANVAS * 0.022, knots.shape) + rng.uniform(-0.05, 0.05, 2) * CANVAS
    )
    source: NDArray[np.float64] = moved @ matrix.T + np.array(ink) / 2
    return source


@cache
def _boxes() -> tuple[tuple[int, int, int, int], ...]:
    steps = np.linspace(0, CANVAS, KNOTS).round().astype(int).tolist()
    return tuple(
        (left, top, right, bottom)
        for top, bottom in itertools.pairwise(steps)
        for left, right in itertools.pairwise(steps)
    )


def _mesh(points: NDArray[np.float64]) -> list[tuple[tuple[int, int, int, int], tuple[float, ...]]]:
    """Pillow's mesh: each box of the canvas, and the corners shown there (north-west, then counter-clockwise)."""
    corners = np.concatenate(
        [points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=-1
    )
    return list(zip(_boxes(), map(tuple, corners.reshape(-1, 8).tolist()), strict=True))
