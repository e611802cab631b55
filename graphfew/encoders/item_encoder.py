"""Encoders of raw items: `ItemEncoder`, and `FittedEncoder` after it has seen items."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from graphfew.data.column_roles import ItemKind
from graphfew.encoders import embedding_cache, images
from graphfew.encoders.digests import item_digest
from graphfew.encoders.raw_items import item_kind, to_sequence
from graphfew.errors import DatasetError, InvalidInputError, InvalidTypeError

Features = NDArray[np.float32]
# `list of str -> [n, F]` or `list of RGB images -> [n, F]`. It can be pickled.
EncodeBatch = Callable[[Sequence[Any]], Features]
# Learns from raw items how to encode them, such as a vocabulary.
FitBatches = Callable[[Sequence[Any]], EncodeBatch]
Progress = Callable[[int], None]
# Items whose features are computed before they are written to the cache: what an interruption
# costs.
_CHUNK = 4096


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ItemEncoder:
    """An encoder of texts or images.

    Attributes:
        name: as `find_encoder` takes it.
        kinds: the kinds of items that it accepts.
        fit_batches: learns from items, and returns the function that encodes a batch.
        batch_size: number of items that are encoded at a time.
        cache_key: identifies the features that the encoder computes, in the cache on disk; None if
            they are not cached.

    Example:
        >>> from graphfew import encoders
        >>> encoder = encoders.find_encoder("tfidf")
        >>> encoder.kinds
        ('text',)
        >>> encoder.fit(["a red car", "a blue car"]).encode(["a red bus"]).dtype
        dtype('float32')
    """

    name: str
    kinds: tuple[ItemKind, ...]
    fit_batches: FitBatches
    batch_size: int = 64
    cache_key: str | None = None

    def fit(self, items: Any) -> FittedEncoder:
        """Learn from items what the encoder needs; pretrained encoders need nothing.

        Args:
            items: texts or images, see `item_kind`.

        Returns:
            The encoder of these and of other items.

        Raises:
            InvalidTypeError: the items are of another kind.
            InvalidInputError: there are no items, some are missing, or nothing can be learned.
            DatasetError: files of images do not exist.
        """
        raw = check_items(items, self.name, self.kinds)
        encode_batch = self.fit_batches(raw)
        return FittedEncoder(self.name, self.kinds, encode_batch, self.batch_size, self.cache_key)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FittedEncoder:
    """An encoder that has learned from items what it needs.

    It can be pickled. Pretrained weights are not part of it: they are loaded again by name.

    Attributes:
        name, kinds, batch_size, cache_key: see `ItemEncoder`.
        encode_batch: list of texts or of RGB images -> `[n, F]`.

    Example:
        >>> import numpy as np
        >>> from graphfew import encoders
        >>> pixels = encoders.find_encoder("pixels").fit(np.zeros((1, 8, 8)))
        >>> pixels.encode(np.zeros((5, 8, 8))).shape
        (5, 3072)
    """

    name: str
    kinds: tuple[ItemKind, ...]
    encode_batch: EncodeBatch
    batch_size: int
    cache_key: str | None

    def encode(self, items: Any, progress: Progress | None = None) -> Features:
        """Compute the features of items, those in the cache excepted.

        Args:
            items: texts or images of the kind of `fit`.
            progress: called with the number of items that are done.

        Returns:
            `[n, F]`, in the order of the items.

        Raises:
            InvalidTypeError: the items are of another kind.
            InvalidInputError: there are no items, some are missing, or features are not finite.
            DatasetError: images are missing or damaged.
        """
        return self.encode_with_digests(items, progress)[0]

    def encode_with_digests(
        self, items: Any, progress: Progress | None = None
    ) -> tuple[Features, list[bytes]]:
        """Compute the features of items, and a digest of the content of each.

        Args:
            items: texts or images of the kind of `fit`.
            progress: called with the number of items that are done.

        Returns:
            Features `[n, F]` as `encode` returns them, and digests `[n]`, equal for equal items.

        Raises:
            GraphfewError: those of `encode`.
        """
        raw = check_items(items, self.name, self.kinds)
        try:
            digests = [item_digest(item) for item in raw]
            return self._encode(raw, digests, progress or _ignore), digests
        except DatasetError:
            # One image was damaged. All of them are reported, so that all can be repaired at once.
            images.check_readable(raw)
            raise

    def _encode(self, raw: Sequence[Any], digests: Sequence[bytes], report: Progress) -> Features:
        if self.cache_key is None:
            return self._compute(raw, range(len(raw)), report)
        stored = embedding_cache.lookup(self.cache_key, digests)
        # Equal items are computed once.
        missing = {d: row for row, d in enumerate(digests) if d not in stored}
        done = len(raw) - len(missing)
        report(done)
        rows = list(missing.values())
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            features = self._compute(raw, chunk, _shifted(report, done + start))
            keys = [digests[row] for row in chunk]
            embedding_cache.store(self.cache_key, keys, features)
            stored.update(zip(keys, features, strict=True))
        return np.stack([stored[digest] for digest in digests])

    def _compute(self, items: Sequence[Any], rows: Sequence[int], report: Progress) -> Features:
        """`[len(rows), F]` features of some of the items."""
        features: Features | None = None
        done = 0
        for positions in _batches(items, rows, self.batch_size):
            batch = [items[rows[position]] for position in positions]
            if not isinstance(batch[0], str):
                batch = images.load_images(batch)
            encoded = check_batch(self.encode_batch(batch), len(batch), self.name)
            if features is None:
                features = np.empty((len(rows), encoded.shape[1]), dtype=np.float32)
            features[positions] = encoded
            done += len(batch)
            report(done)
        assert features is not None
        return features


def check_items(items: Any, name: str, kinds: Sequence[ItemKind]) -> Sequence[Any]:
    """Convert items to a list that an encoder accepts.

    Raises:
        InvalidTypeError: the items are of another kind.
        InvalidInputError: there are no items, or some are missing.
        DatasetError: files of images do not exist.
    """
    raw = to_sequence(items)
    kind = item_kind(raw)
    # Strings are texts for an encoder of texts, and paths for one of images.
    if isinstance(raw[0], str) and kind not in kinds and "features" not in kinds:
        kind = kinds[0]
    if kind not in kinds:
        raise InvalidTypeError(
            f"the encoder {name} takes {' or '.join(map(_plural, kinds))}, and the items are "
            f"{_plural(kind)}{_advice(kind)}"
        )
    if kind == "image":
        if isinstance(raw, np.ndarray):
            return images.array_images(raw)
        # From here on a string is a text, and a path is a file.
        raw = [Path(item) if isinstance(item, str) else item for item in raw]
        images.check_files(raw)
    return list(raw)


def check_batch(features: Any, n_items: int, name: str) -> Features:
    """Return features as float32 if they are finite and `[n_items, F]`."""
    if hasattr(features, "detach"):
        features = features.detach().float().cpu().numpy()
    array = np.asarray(features)
    if array.ndim != 2 or len(array) != n_items or array.dtype.kind not in "fiu":
        raise InvalidInputError(
            f"the encoder {name} returned {array.dtype} of shape {array.shape} for {n_items} items; "
            f"it must return numbers [{n_items}, F]"
        )
    if not np.isfinite(array).all():
        raise InvalidInputError(
            f"the encoder {name} returned values that are not finite; check its weights and its "
            "precision"
        )
    return array.astype(np.float32, copy=False)


def _batches(
    items: Sequence[Any], rows: Sequence[int], batch_size: int
) -> Iterable[NDArray[np.int64]]:
    """Positions in `rows` by batch. Texts of similar length share a batch, because it is padded."""
    order = np.arange(len(rows))
    if isinstance(items[0], str):
        lengths = [len(items[row]) for row in rows]
        order = np.argsort(lengths, kind="stable")[::-1]
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _plural(kind: ItemKind) -> str:
    return {"text": "texts", "image": "images", "features": "features"}[kind]


def _advice(kind: ItemKind) -> str:
    if kind == "features":
        return "; features need no encoder: omit it"
    name = "tfidf" if kind == "text" else "hog"
    return f"; an encoder of {_plural(kind)} is {name}"


def _shifted(report: Progress, offset: int) -> Progress:
    return lambda done: report(offset + done)


def _ignore(done: int) -> None:
    pass
