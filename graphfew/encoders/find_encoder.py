"""Encoders by name."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from torch import nn

from graphfew.encoders import (
    checkpoint_models,
    hog,
    image_modules,
    pixels,
    sentence_transformers_models,
    tfidf,
    transformers_models,
)
from graphfew.encoders.item_encoder import ItemEncoder
from graphfew.encoders.lazy_model import PretrainedFit
from graphfew.errors import ConfigurationError, InvalidInputError, InvalidTypeError

OWN_ENCODERS = {
    tfidf.NAME: tfidf.tfidf_encoder,
    hog.NAME: hog.hog_encoder,
    pixels.NAME: pixels.pixels_encoder,
}
PRETRAINED = {
    transformers_models.PREFIX: transformers_models.transformers_encoder,
    sentence_transformers_models.PREFIX: (
        sentence_transformers_models.sentence_transformers_encoder
    ),
    image_modules.TIMM_PREFIX: image_modules.timm_encoder,
    checkpoint_models.PREFIX: checkpoint_models.checkpoint_encoder,
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
    prefix, _, model = name.partition(":")
    if name in OWN_ENCODERS:
        encoder = OWN_ENCODERS[name]()
    elif prefix in PRETRAINED and model:
        encoder = PRETRAINED[prefix](model, device)
    else:
        raise ConfigurationError(_unknown_name(name, prefix), key="encoder")
    return dataclasses.replace(encoder, batch_size=batch_size or encoder.batch_size)


def as_encoder(encoder: Any) -> ItemEncoder:
    """Return the encoder of a name, or make one of a network or a function.

    Args:
        encoder: a name (see `find_encoder`), an `ItemEncoder`, a torch module of images (see
            `image_encoder`), or a function that maps a list of texts, or of RGB images, to features
            `[n, F]`.

    Returns:
        The encoder.

    Raises:
        InvalidTypeError: it is another object.
        GraphfewError: those of `find_encoder`.

    Example:
        >>> import numpy as np
        >>> encoder = as_encoder(lambda texts: np.array([[len(text)] for text in texts]))
        >>> encoder.fit(["a"]).encode(["a", "bcd"]).tolist()
        [[1.0], [3.0]]
    """
    if isinstance(encoder, ItemEncoder):
        return encoder
    if isinstance(encoder, str):
        return find_encoder(encoder)
    if isinstance(encoder, nn.Module):
        return image_modules.image_encoder(encoder)
    # Calling a class would construct something from the items instead of encoding them.
    if not callable(encoder) or isinstance(encoder, type):
        raise InvalidTypeError(
            f"the encoder is {encoder!r}; give a name such as tfidf or hog, a torch module of images, "
            "or a function of a list of texts or images"
        )
    name = getattr(encoder, "__name__", type(encoder).__name__)
    return ItemEncoder(name, ("text", "image"), PretrainedFit(encoder))


def default_encoder(kind: str) -> ItemEncoder:
    """Return the encoder that needs no pretrained weights: `tfidf` for texts, `hog` for images.

    Args:
        kind: "text" or "image".

    Returns:
        The encoder.

    Raises:
        InvalidInputError: the kind is unknown.

    Example:
        >>> default_encoder("text").name
        'tfidf'
    """
    if kind not in DEFAULTS:
        raise InvalidInputError(f"the kind of items is {kind!r}; it must be 'text' or 'image'")
    return find_encoder(DEFAULTS[kind])


def _unknown_name(name: str, prefix: str) -> str:
    if name in PRETRAINED or (prefix in PRETRAINED and name.endswith(":")):
        example = {"checkpoint": "egnn-omniglot", "timm": "resnet18.a1_in1k"}
        model = example.get(prefix, "all-MiniLM-L6-v2")
        return f"the encoder {name!r} names no model; write for example {prefix}:{model}"
    own = difflib.get_close_matches(name, OWN_ENCODERS, n=1)
    prefixes = difflib.get_close_matches(prefix, PRETRAINED, n=1)
    advice = f"did you mean {own[0]}? " if own else ""
    if prefixes and ":" in name:
        advice = f"did you mean {prefixes[0]}:{name.partition(':')[2]}? "
    return f"unknown encoder {name!r}; {advice}expected one of {FORMS}"
