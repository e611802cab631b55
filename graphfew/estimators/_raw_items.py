"""Texts and images as items of a classifier: they are encoded before everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.data_warning import warn_data
from graphfew.data.io.progress import progress_counter
from graphfew.encoders import FittedEncoder, as_encoder, default_encoder
from graphfew.encoders.raw_items import raw_kind

# What the note recommends instead of the defaults.
_BETTER = {
    "text": "'sentence-transformers:all-MiniLM-L6-v2'",
    "image": "'timm:vit_small_patch14_dinov2.lvd142m'",
}


def fit_encoder(encoder: Any, X: Any, *, accepts_images: bool) -> FittedEncoder | None:
    """Fit the encoder of a classifier to its raw items.

    Args:
        encoder: a name, encoder, network or function; None chooses by the kind of items, and warns
            of the choice.
        X: the items.
        accepts_images: whether the classifier takes arrays of images without an encoder.

    Returns:
        The encoder; None if the items are features, or anything else that is not raw.
    """
    if encoder is not None:
        return as_encoder(encoder).fit(X)
    kind = raw_kind(X)
    if kind is None or (accepts_images and hasattr(X, "ndim")):
        return None
    chosen = default_encoder(kind)
    warn_data(
        [
            f"the items are {'texts' if kind == 'text' else 'images'}, which {chosen.name} encodes "
            f"without pretrained weights; a pretrained encoder is more accurate, such as "
            f"encoder={_BETTER[kind]}, and encoder={chosen.name!r} keeps this one without a warning"
        ]
    )
    return chosen.fit(X)


def encode_raw(
    encoder: FittedEncoder, X: Any, *, verbose: bool
) -> tuple[NDArray[np.float32], list[bytes]]:
    """Encode raw items, with progress on standard error if `verbose`.

    Returns:
        Features `[n, F]`, and the digest of each item.
    """
    with progress_counter(f"encoding by {encoder.name}", len(X), verbose) as set_completed:
        return encoder.encode_with_digests(X, set_completed)


def repeat_features(
    previous: Any, previous_digests: Sequence[bytes], features: Any, digests: Sequence[bytes]
) -> Any:
    """Give raw items that equal earlier ones exactly the features of these.

    The features of an item depend a little on the other items of its batch, by rounding, while
    corrections of labels compare features exactly.

    Args:
        previous: `[n, F]` features of earlier items.
        previous_digests: `[n]` their digests; none if they are not raw.
        features: `[m, F]` of further items.
        digests: `[m]` their digests; none if they are not raw.

    Returns:
        `[m, F]` features.
    """
    if not digests:
        return features
    row_of = {digest: row for row, digest in enumerate(previous_digests)}
    rows = [row for row, digest in enumerate(digests) if digest in row_of]
    repeated = features.copy()
    repeated[rows] = previous[[row_of[digests[row]] for row in rows]]
    return repeated
