"""CPU tuning of frozen pair MLPs: buffers, biases as matrix columns, chunks for the cache."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from graphfew.ops.chunking import EdgeFunction

# `(weight [out, in], bias [out], negative slope of the leaky ReLU or None)` of one linear layer.
LinearStep = tuple[Tensor, Tensor, float | None]

DEFAULT_L2_BYTES = 1 << 20
CACHE_LINE_FLOATS = 16


def buffered_pair_mlp(steps: Sequence[LinearStep]) -> EdgeFunction:
    """Return a function that applies the linear layers to `|a - b|`, with buffers reused by calls.

    The values equal those of `graphfew.nn.pair_mlp.plain_pair_mlp` up to rounding. Gradients must
    be disabled, since every call overwrites the activations of the one before.

    Args:
        steps: the linear layers, batch norm already folded in; CPU tensors of one dtype.

    Returns:
        `([..., F], [..., F]) -> [P, 1]` for ends that broadcast to P pairs.
    """
    # The bias is one more row of the weight, for inputs whose last column is 1. A separate
    # addition costs a fifth of the product, the additional column nothing measurable.
    weights = [torch.cat([weight.t(), bias[None]]) for weight, bias, _ in steps]
    slopes = [slope for _, _, slope in steps]
    buffers = _Buffers(weights)

    def apply(a: Tensor, b: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]
        with_ones, without_ones = buffers.views(shape[:-1].numel())
        torch.sub(a, b, out=without_ones[0].view(shape)).abs_()
        for index, slope in enumerate(slopes[:-1]):
            outputs = without_ones[index + 1]
            torch.mm(with_ones[index], weights[index], out=outputs)
            if slope is not None:
                F.leaky_relu(outputs, slope, inplace=True)
        return with_ones[-1] @ weights[-1]

    return apply


class _Buffers:
    """The inputs of each linear layer for one chunk of pairs, allocated for the largest chunk."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = weights
        self._buffers: list[Tensor] = []
        self._views: dict[int, tuple[list[Tensor], list[Tensor]]] = {}

    def views(self, n_rows: int) -> tuple[list[Tensor], list[Tensor]]:
        """First rows of the buffers: `[n_rows, in + 1]` with the ones, `[n_rows, in]` without."""
        if not self._buffers or n_rows > len(self._buffers[0]):
            self._buffers = self._allocate(n_rows)
            self._views.clear()
        if n_rows not in self._views:
            self._views[n_rows] = (
                [buffer[:n_rows] for buffer in self._buffers],
                [buffer[:n_rows, :-1] for buffer in self._buffers],
            )
        return self._views[n_rows]

    def _allocate(self, n_rows: int) -> list[Tensor]:
        # A layer reads one buffer and writes the next, so only neighbors must differ: layers of
        # equal width and equal parity share a buffer, which keeps the working set in the cache.
        shared: dict[tuple[int, int], Tensor] = {}
        buffers = []
        for index, weight in enumerate(self._weights):
            width = len(weight)
            key = (width, index % 2)
            if key not in shared:
                # Rows start at a cache line; unaligned rows slow the products down.
                stride = -(-width // CACHE_LINE_FLOATS) * CACHE_LINE_FLOATS
                shared[key] = weight.new_empty(n_rows, stride)[:, :width]
                shared[key][:, -1] = 1
            buffers.append(shared[key])
        return buffers


def cache_chunk_bytes() -> int:
    """Bytes of one layer's input and output per chunk: 1.5 times the L2 caches of all threads.

    A call has a fixed cost of about 70 pairs, so larger chunks pay until they leave the cache,
    and the small part that does not fit is still in the next level.
    """
    return 3 * l2_cache_bytes() // 2 * torch.get_num_threads()


@cache
def l2_cache_bytes() -> int:
    """Bytes of one core's L2 cache, read from Linux; 1 MiB if unknown."""
    # An unreadable file means that the size is unknown.
    with suppress(OSError, ValueError):
        for level in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/level"):
            if level.read_text().strip() == "2":
                size = level.with_name("size").read_text()
                return int(size.strip().removesuffix("K")) << 10
    return DEFAULT_L2_BYTES
