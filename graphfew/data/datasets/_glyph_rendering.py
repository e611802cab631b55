"""Rendering of glyphs: the characters of the DejaVu faces, and jittered images of them."""

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

_SANS_STYLES = ("", "-Bold", "-Oblique", "-BoldOblique")
_SERIF_STYLES = ("", "-Bold", "-Italic", "-BoldItalic")
FACES = (
    *(f"DejaVuSans{style}" for style in _SANS_STYLES),
    *(f"DejaVuSansMono{style}" for style in _SANS_STYLES),
    *(f"DejaVuSerif{style}" for style in _SERIF_STYLES),
)
MIN_FACES = 8
LETTER_CATEGORIES = ("Lu", "Ll", "Lo", "Nd")
# Shapes `a` and `b` are alike if `|a - b|² < LOOKALIKE_THRESHOLD |a| |b|`.
LOOKALIKE_THRESHOLD = 0.15
FONT_SIZE = 96
CANVAS_SIZE = 112  # side of the image before it is reduced
WARP_KNOTS = 4  # the warp moves a grid of WARP_KNOTS x WARP_KNOTS points
SHAPE_SIZE = 32  # side of the images that are compared for likeness

Font = ImageFont.FreeTypeFont
Box = tuple[int, int, int, int]


def face_path(face: str) -> Path:
    """Return the file of a face, among those that matplotlib includes."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


def load_face(face: str) -> Font:
    """Load a face at the size of the rendering."""
    # The basic layout is part of Pillow; Raqm is optional, and may place glyphs differently.
    return ImageFont.truetype(str(face_path(face)), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def find_coverage() -> dict[int, tuple[int, ...]]:
    """Return for each code point the indices of the faces that contain it, both ascending."""
    coverage: dict[int, list[int]] = {}
    for index, face in enumerate(FACES):
        for code in FT2Font(str(face_path(face))).get_charmap():
            coverage.setdefault(int(code), []).append(index)
    return {code: tuple(faces) for code, faces in sorted(coverage.items())}


def find_letters(script: str, faces_of_code: dict[int, tuple[int, ...]]) -> list[int]:
    """Return the letters and decimal digits of a script that at least `MIN_FACES` faces contain.

    Characters that decompose (accented or compatibility characters) are excluded: they differ from
    another one by a mark, or not at all.

    Args:
        script: the first word of the characters' Unicode names.
        faces_of_code: from `find_coverage`.

    Returns:
        Code points, ascending.
    """
    letters = []
    for code, faces in faces_of_code.items():
        character = chr(code)
        is_letter = unicodedata.category(character) in LETTER_CATEGORIES
        # In this order: characters that are not letters may have no Unicode name.
        if (
            is_letter
            and len(faces) >= MIN_FACES
            and unicodedata.name(character).split()[0] == script
            and not unicodedata.decomposition(character)
        ):
            letters.append(code)
    return letters


def remove_lookalikes(codes: Iterable[int]) -> list[int]:
    """Return the code points whose shape in DejaVu Sans differs from that of every earlier one.

    Shapes are cropped to their ink and scaled to one size, so a lower-case letter with the shape of
    its capital is a look-alike, too.
    """
    face = load_face(FACES[0])
    distinct: list[int] = []
    shapes = np.zeros((0, SHAPE_SIZE * SHAPE_SIZE))
    for code in codes:
        shape = _normalized_shape(face, chr(code))
        squared_distance = ((shapes - shape) ** 2).sum(1)
        # Relative to both norms, so that the amount of ink in a character does not matter.
        scale = np.linalg.norm(shape) * np.linalg.norm(shapes, axis=1)
        is_alike = squared_distance < LOOKALIKE_THRESHOLD * scale
        if not is_alike.any():
            distinct.append(code)
            shapes = np.concatenate([shapes, shape[None]])
    return distinct


def render_character(
    face: Font, character: str, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Render a character, bright on black, with jitter.

    Args:
        face: from `load_face`.
        character: a character of the face.
        size: side of the image in pixels.
        rng: source of the stroke width, slant, rotation, scale, position, warp and noise.

    Returns:
        `[size, size]` uint8.
    """
    # The order of the random draws defines the data set: it must not change.
    stroke = _draw_extra_stroke(face, character, rng)
    ink = _render_ink(face, character, stroke=stroke)
    mesh = _build_mesh(_draw_source_points(ink.size, rng))
    # Warped on a large canvas and reduced afterwards: warping the small image would blur it.
    warped = ink.transform(
        (CANVAS_SIZE, CANVAS_SIZE),
        Image.Transform.MESH,
        mesh,
        Image.Resampling.BILINEAR,
    )
    reduced = warped.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(reduced, dtype=np.float64)
    noise_level = rng.uniform(5, 25)
    noise = rng.normal(0, noise_level, (size, size))
    brightness = rng.uniform(0.75, 1.0)
    noisy = np.rint(pixels * brightness + noise)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _render_ink(face: Font, character: str, stroke: int = 0) -> Image.Image:
    """Render the character alone, cropped to its ink, in mode `L`."""
    box = face.getbbox(character, stroke_width=stroke)
    left, top, right, bottom = (int(side) for side in box)
    image = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(image).text(
        (1 - left, 1 - top), character, fill=255, font=face, stroke_width=stroke
    )
    return image.crop(image.getbbox())


def _draw_extra_stroke(face: Font, character: str, rng: np.random.Generator) -> int:
    """Draw the pixels to add around the strokes, relative to the size of the character."""
    left, top, right, bottom = face.getbbox(character)
    # The gaps of a bold face would close.
    is_bold = "Bold" in str(face.getname()[1])
    max_fraction = 0.02 if is_bold else 0.06
    fraction = rng.uniform(0, max_fraction)
    longer_side = max(right - left, bottom - top)
    return int(fraction * longer_side + 0.5)


def _normalized_shape(face: Font, character: str) -> NDArray[np.float64]:
    """Return the ink scaled to a square `[SHAPE_SIZE * SHAPE_SIZE]`, values in 0..1."""
    ink = _render_ink(face, character)
    scale = SHAPE_SIZE / max(ink.size)
    width, height = (max(1, round(scale * side)) for side in ink.size)
    scaled = ink.resize((width, height), Image.Resampling.BOX)
    square = Image.new("L", (SHAPE_SIZE, SHAPE_SIZE))
    left = (SHAPE_SIZE - width) // 2
    top = (SHAPE_SIZE - height) // 2
    square.paste(scaled, (left, top))
    pixels = np.asarray(square, dtype=np.float64)
    shape: NDArray[np.float64] = pixels.ravel() / 255
    return shape


def _draw_source_points(ink_size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the point of the ink image shown at each knot, `[WARP_KNOTS, WARP_KNOTS, 2]`."""
    angle = rng.normal(0, np.deg2rad(7))
    slant = rng.normal(0, 0.1)
    # Pillow maps backward, from the canvas to the ink, so a large zoom gives a small character.
    zoom = max(ink_size) / (CANVAS_SIZE * rng.uniform(0.64, 0.8))
    # Log-normal, so that stretching and squeezing by a factor are equally likely.
    stretch = zoom * np.exp(rng.normal(0, 0.06, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    shear = np.array([[1, slant], [0, 1]])
    matrix = np.diag(stretch) @ shear @ rotation
    steps = np.linspace(-CANVAS_SIZE / 2, CANVAS_SIZE / 2, WARP_KNOTS)
    knots = np.stack(np.meshgrid(steps, steps), axis=-1)
    warp = rng.normal(0, CANVAS_SIZE * 0.022, knots.shape)
    shift = rng.uniform(-0.05, 0.05, 2) * CANVAS_SIZE
    center = np.array(ink_size) / 2
    source: NDArray[np.float64] = (knots + warp + shift) @ matrix.T + center
    return source


@cache
def _canvas_boxes() -> tuple[Box, ...]:
    """Return the boxes between the knots of the canvas, row by row."""
    steps = np.linspace(0, CANVAS_SIZE, WARP_KNOTS).round().astype(int).tolist()
    boxes = []
    for top, bottom in itertools.pairwise(steps):
        for left, right in itertools.pairwise(steps):
            boxes.append((left, top, right, bottom))
    return tuple(boxes)


def _build_mesh(points: NDArray[np.float64]) -> list[tuple[Box, tuple[float, ...]]]:
    """Return Pillow's mesh: each box of the canvas, and the corners of the ink shown there."""
    north_west, north_east = points[:-1, :-1], points[:-1, 1:]
    south_west, south_east = points[1:, :-1], points[1:, 1:]
    # Counter-clockwise, as Pillow expects the corners.
    corners = np.concatenate([north_west, south_west, south_east, north_east], axis=-1)
    quads = [tuple(quad) for quad in corners.reshape(-1, 8).tolist()]
    return list(zip(_canvas_boxes(), quads, strict=True))
