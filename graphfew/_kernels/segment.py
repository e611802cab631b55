"""Reductions over runs of consecutive rows, each by what `benchmarks/speed/ragged.py` found quickest on a CPU.

torch-scatter goes along each run, torch-geometric (torch's `index_add`) along each row: the one is 1.4 times as fast on
rows of 2 numbers, the other 3 times on rows of 96. On a GPU, where nothing was measured, it is torch-scatter's, which
gives the same sums each time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.utils import scatter

try:
    import torch_scatter
except ImportError:  # pragma: no cover - the optional `scatter` extra; tests call the fallback directly
    torch_scatter = None

SegmentSum = Callable[[Tensor, Tensor, Tensor], Tensor]
WIDE = 16


def segment_sum_scatter(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Sum of rows `ptr[i] .. ptr[i+1]` of `src [E, ...]` as `[N, ...]`, by torch-scatter's CSR kernel."""
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
    if src.shape[1:].numel() < WIDE:
        return torch.segment_reduce(src.detach(), "max", offsets=ptr, axis=0)
    out = src.new_zeros(len(ptr) - 1, *src.shape[1:])
    where = index.view(-1, *[1] * (src.ndim - 1)).expand_as(src)
    return out.scatter_reduce(0, where, src.detach(), reduce="amax", include_self=False)


segment_sum: SegmentSum = segment_sum_geometric if torch_scatter is None else segment_sum_by_width
