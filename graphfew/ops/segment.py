"""Reductions over runs of consecutive rows (CSR segments).

torch-scatter parallelizes over segments, torch over columns: on a CPU the first is 1.4 times as
fast for rows of 2 numbers, the second 3 times for rows of 96 (`benchmarks/speed/ragged.py`). On a
GPU torch-scatter is used, because its sums are deterministic. torch-geometric's `scatter`, which
calls the same torch function, is not used: its import takes as long as torch's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

SegmentSum = Callable[[Tensor, Tensor, Tensor], Tensor]
# Columns from which the column-wise kernels are faster on a CPU.
MIN_WIDE_COLUMNS = 16


def segment_sum(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Sum the rows `ptr[i] .. ptr[i+1]` of `src [E, ...]` to `[N, ...]`.

    `index [E]` is the segment of each row. It holds the same information as `ptr`; each library
    needs one of the two.
    """
    # The kernels of torch-scatter cannot be compiled.
    if torch.compiler.is_compiling():
        return segment_sum_torch(src, ptr, index)
    return _fastest_segment_sum()(src, ptr, index)


def segment_sum_scatter(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Compute `segment_sum` by the CSR kernel of torch-scatter."""
    import torch_scatter  # the optional `scatter` extra

    del index
    out: Tensor = torch_scatter.segment_csr(src, ptr, reduce="sum")
    return out


def segment_sum_torch(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Compute `segment_sum` by torch."""
    out = src.new_zeros(len(ptr) - 1, *src.shape[1:])
    return out.scatter_add_(0, _expand_index(index, src), src)


def segment_sum_by_width(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Compute `segment_sum` by torch for wide rows on a CPU, else by torch-scatter."""
    if src.device.type == "cpu" and src.shape[1:].numel() >= MIN_WIDE_COLUMNS:
        return segment_sum_torch(src, ptr, index)
    return segment_sum_scatter(src, ptr, index)


def segment_max(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Compute the maximum of each segment, `[N, ...]`, without a gradient.

    It only shifts the logits of a softmax, which does not change the result or its gradient.
    """
    src = src.detach()
    if src.shape[1:].numel() < MIN_WIDE_COLUMNS and not torch.compiler.is_compiling():
        return torch.segment_reduce(src, "max", offsets=ptr, axis=0)
    out = src.new_zeros(len(ptr) - 1, *src.shape[1:])
    return out.scatter_reduce(0, _expand_index(index, src), src, reduce="amax", include_self=False)


def _expand_index(index: Tensor, src: Tensor) -> Tensor:
    """Repeat the segments `[E]` along the columns of `src [E, ...]`."""
    row_dims = [1] * (src.ndim - 1)
    return index.view(-1, *row_dims).expand_as(src)


@functools.cache
def _fastest_segment_sum() -> SegmentSum:
    """Return the fastest installed implementation; imports torch-scatter on first use."""
    try:
        import torch_scatter  # noqa: F401 - only to see whether it can be imported
    except (ImportError, OSError):
        # OSError: torch-scatter was built for another version of PyTorch.
        return segment_sum_torch
    return segment_sum_by_width
