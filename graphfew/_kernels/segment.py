"""Reductions over runs of consecutive rows: torch-scatter where it is installed, else torch-geometric."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch_geometric.utils import scatter

try:
    import torch_scatter
except ImportError:  # pragma: no cover - the optional `scatter` extra; tests call the fallback directly
    torch_scatter = None

SegmentSum = Callable[[Tensor, Tensor, Tensor], Tensor]


def segment_sum_scatter(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Sum of rows `ptr[i] .. ptr[i+1]` of `src [E, ...]` as `[N, ...]`, by torch-scatter's CSR kernel."""
    del index
    out: Tensor = torch_scatter.segment_csr(src, ptr, reduce="sum")
    return out


def segment_sum_geometric(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """The same sum from the sorted segment `index [E]` of each row, by torch-geometric."""
    out: Tensor = scatter(src, index, dim=0, dim_size=len(ptr) - 1, reduce="sum")
    return out


def segment_max(src: Tensor, ptr: Tensor, index: Tensor) -> Tensor:
    """Row-wise maximum of each segment, `[N, ...]`; no gradient, since it only shifts a softmax."""
    out = src.new_zeros(len(ptr) - 1, *src.shape[1:])
    where = index.view(-1, *[1] * (src.ndim - 1)).expand_as(src)
    return out.scatter_reduce(0, where, src.detach(), reduce="amax", include_self=False)


segment_sum: SegmentSum = segment_sum_geometric if torch_scatter is None else segment_sum_scatter
