"""Models that are loaded on first use, and left out of pickles and copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from graphfew.encoders.item_encoder import EncodeBatch, Features


@final
class LazyModel:
    """A function of batches whose model is loaded when the first batch is encoded.

    Args:
        load: loads the model and returns the function; it can be pickled.
    """

    def __init__(self, load: Callable[[], EncodeBatch]) -> None:
        self.load = load
        self._encode: EncodeBatch | None = None

    def __call__(self, batch: Sequence[Any]) -> Features:
        """Encode a batch."""
        if self._encode is None:
            self._encode = self.load()
        return self._encode(batch)

    def __getstate__(self) -> dict[str, Any]:
        # Without the weights, which are loaded again.
        return {"load": self.load, "_encode": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyModel:
        # Nothing here changes, so copies of a classifier share the loaded weights.
        return self


@final
class PretrainedFit:
    """A fit that learns nothing, and returns the same function for all items.

    Args:
        encode_batch: the function.
    """

    def __init__(self, encode_batch: EncodeBatch) -> None:
        self.encode_batch = encode_batch

    def __call__(self, items: Sequence[Any], /) -> EncodeBatch:
        """Return the function."""
        return self.encode_batch
