"""Digests of raw items by content: equal items have equal digests, whatever their file is called."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graphfew.errors import DatasetError, InvalidInputError

# Two of a billion items have the same 128 bits with a probability of 1e-21.
DIGEST_BYTES = 16


def item_digest(item: Any) -> bytes:
    """Compute the digest of a text, a `Path` of an image, a PIL image or an array.

    Raises:
        DatasetError: the file cannot be read.
        InvalidInputError: the PIL image is closed.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    if isinstance(item, str):
        # Texts of broken files may hold lone surrogates.
        digest.update(item.encode("utf-8", "surrogatepass"))
    elif isinstance(item, Path):
        digest.update(_read(item))
    elif isinstance(item, Image.Image):
        _load(item)
        # The palette and the rotation belong to the content.
        shown = item.convert("RGBA") if item.mode == "P" else item
        orientation = item.getexif().get(0x0112)
        digest.update(f"{shown.mode} {shown.size} {orientation}".encode())
        digest.update(shown.tobytes())
    else:
        array = np.ascontiguousarray(item)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except (ValueError, AssertionError) as error:
        # Pillow asserts that the file is open if nothing has been decoded yet.
        if isinstance(error, ValueError) and "closed" not in str(error):
            raise
        # Such as an image that was opened in a `with` block, and is used after it.
        raise InvalidInputError(
            "a PIL image is closed; give its path, or call load() before it is closed"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}); replace or remove it"
        ) from error
