"""Encoders by name."""

from __future__ import annotations

import dataclasses
import difflib

from graphfew.encoders import hog, pixels, tfidf
from graphfew.encoders.item_encoder import ItemEncoder
from graphfew.errors import ConfigurationError, InvalidInputError

OWN_ENCODERS = {
    tfidf.NAME: tfidf.tfidf_encoder,
    hog.NAME: hog.hog_encoder,
    pixels.NAME: pixels.pixels_encoder,
}
FORMS = (
    "tfidf, hog, pixels, transformers:NAME, sentence-transformers:NAME, timm:NAME, checkpoint:NAME"
)
DEFAULTS = {"text": tfidf.NAME, "image": hog.NAME}


def find_encoder(
    name: str, *, device: str | None = None, batch_size: int | None = None
) -> ItemEncoder:
    """Find an encoder by name, and check that everything that it needs is there.

    Args:
        name: "tfidf" (texts), "hog" or "pixels" (images), which need no pretrained weights;
            "transformers:", "sentence-transformers:" or "timm:" and the name of a model or its
            folder; "checkpoint:" and a checkpoint file, a run folder, or the name of a pretrained
            model of graphfew.
        device: of pretrained models, such as "cuda:1"; None takes the GPU if there is one.
        batch_size: number of items that are encoded at a time; None takes the encoder's.

    Returns:
        The encoder.

    Raises:
        ConfigurationError: the name is unknown, or the device cannot be used.
        MissingDependencyError: a package is not installed.
        MissingFileError: the model is neither a folder nor in the cache of its library.

    Example:
        >>> find_encoder("hog").kinds
        ('image',)
    """
    if batch_size is not None and batch_size < 1:
        raise InvalidInputError(f"batch_size is {batch_size}; it must be at least 1")
    if name not in OWN_ENCODERS:
        close = difflib.get_close_matches(name, OWN_ENCODERS, n=1)
        advice = f"did you mean {close[0]}? " if close else ""
        raise ConfigurationError(
            f"unknown encoder {name!r}; {advice}expected one of {FORMS}", key="encoder"
        )
    encoder = OWN_ENCODERS[name]()
    return dataclasses.replace(encoder, batch_size=batch_size or encoder.batch_size)


def default_encoder(kind: str) -> ItemEncoder:
    """Return the encoder that needs no pretrained weights: `tfidf` for texts, `hog` for images.

    Args:
        kind: "text" or "image".

    Returns:
        The encoder.

    Raises:
        InvalidInputError: there is no such kind.

    Example:
        >>> default_encoder("text").name
        'tfidf'
    """
    if kind not in DEFAULTS:
        raise InvalidInputError(f"the kind of items is {kind!r}; it must be 'text' or 'image'")
    return find_encoder(DEFAULTS[kind])
