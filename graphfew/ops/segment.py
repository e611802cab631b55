"""Reductions over runs of consecutive rows, each by what `benchmarks/speed/ragged.py` found quickest on a CPU.

torch-scatter goes along each run, torch-geometric (torch's `index_add`) along each row: the one is 1.4 times as fast on
rows of 2 numbers, the other 3 times on rows of 96. On a GPU, where nothing was measured, it is torch-scatter's, which
gives the same sums each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.utils import scatter

SegmentSum = Callable[[Tensor, Tensor, Tensor], Tensor]
WIDE = 16


def segment_sum_scatter(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Sum of rows `ptr[i] .. ptr[i+1]` of `src [E, ...]` as `[N, ...]`, by torch-scatter's CSR kernel."""
    import torch_scatter  # the optional `scatter` extra

    del index
    out: Tensor = torch_scatter.segment_csr(src, ptr, reduce="sum")
    return out


def segment_sum_geometric(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """The same sum from the sorted segment `index [E]` of each row, by torch-geometric."""
    out: Tensor = scatter(src, index, dim=0, dim_size=len(ptr) - 1, reduce="sum")
    return out


def segment_sum_by_width(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """The same sum, by torch-scatter but for wide rows on a CPU."""
    wide = src.device.type == "cpu" and src.shape[1:].numel() >= WIDE
    return (segment_sum_geometric if wide else segment_sum_scatter)(src, ptr, index)


def segment_max(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Row-wise maximum of each segment, `[N, ...]`; no gradient, since it only shifts a softmax."""
    if src.shape[1:].numel() < WIDE and not torch.compiler.is_compiling():
        return torch.segment_reduce(src.detach(), "max", offsets=ptr, axis=0)
    out = src.new_zeros(len(ptr) - 1, *src.shape[1:])
    where = index.view(-1, *[1] * (src.ndim - 1)).expand_as(src)
    return out.scatter_reduce(0, where, src.detach(), reduce="amax", include_self=False)


def segment_sum(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """The same sum, by torch-scatter where it is quickest and installed; its kernels cannot be compiled."""
    return (segment_sum_geometric if torch.compiler.is_compiling() else _quickest())(
        src, ptr, index
    )


@functools.cache
def _quickest() -> SegmentSum:
    """Looked for at the first use; a torch-scatter that was built for another PyTorch fails with an OSError."""
    try:
        import torch_scatter  # noqa: F401 - only whether it is there
    except (ImportError, OSError):
        return segment_sum_geometric
    return segment_sum_by_width
