"""Functions of torch in plainer operators, for run times that know no others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor


def one_hot(index: Tensor, num_classes: int = -1) -> Tensor:
    """`torch.nn.functional.one_hot` without its look at the values; `num_classes` must be given."""
    return (index[..., None] == torch.arange(num_classes, device=index.device)).to(torch.int64)


def segment_sum(src: Tensor, ptr: Tensor, out: Tensor | None = None) -> Tensor:
    """torch-scatter's sum of rows `ptr[i] .. ptr[i+1]` of `src [E, ...]`: `[N, ...]`."""
    del out
    return src.new_zeros(len(ptr) - 1, *src.shape[1:]).scatter_add(0, _rows(src, ptr), src)


def segment_reduce(data: Tensor, reduce: str, *, offsets: Tensor, axis: int = 0) -> Tensor:
    """`torch.segment_reduce`, for `reduce="max"` along the first axis."""
    assert reduce == "max"
    assert axis == 0
    lowest = data.new_full((len(offsets) - 1, *data.shape[1:]), -torch.inf)
    return lowest.scatter_reduce(0, _rows(data, offsets), data, reduce="amax")


def solve(system: Tensor, right: Tensor) -> Tensor:
    """`torch.linalg.solve` of `[G, n, n]` and `[G, n, k]`, by elimination without a choice of rows.

    Enough for matrices that are symmetric and positive, or in which the diagonal outweighs the rest of its row, which
    `I - α W` is for every normalized W that is used here and α below 1; for no others.
    """
    n = system.shape[-1]
    unit = torch.eye(n, dtype=system.dtype, device=system.device)
    both = torch.cat([system, right], dim=-1)
    for k in range(n):
        row = both[..., k : k + 1, :] / both[..., k : k + 1, k : k + 1]
        both = both - (both[..., k : k + 1] - unit[:, k : k + 1]) * row
    return both[..., n:]


def inverse(system: Tensor) -> Tensor:
    """`torch.linalg.inv` of `[G, n, n]`, as `solve` does it."""
    unit = torch.eye(system.shape[-1], dtype=system.dtype, device=system.device)
    return solve(system, unit.expand_as(system))


def _rows(src: Tensor, ptr: Tensor) -> Tensor:
    """The segment of each row, in the shape of `src`."""
    index = torch.repeat_interleave(ptr.diff())
    return index.view(-1, *[1] * (src.ndim - 1)).expand_as(src)


def always() -> Mapping[Any, Any]:
    """Replacements for what cannot be recorded as it is."""
    found: dict[Any, Any] = {torch._C._nn.one_hot: one_hot, torch.segment_reduce: segment_reduce}
    if hasattr(torch.ops, "torch_scatter") and hasattr(torch.ops.torch_scatter, "segment_sum_csr"):
        found[torch.ops.torch_scatter.segment_sum_csr] = segment_sum
    return MappingProxyType(found)


def for_onnx() -> Mapping[Any, Any]:
    """Those, and replacements for what ONNX has no operator for."""
    return MappingProxyType({**always(), torch.linalg.solve: solve, torch.linalg.inv: inverse})
