"""Functions of torch in terms of simpler operators, for runtimes that lack them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor


def one_hot(index: Tensor, num_classes: int = -1) -> Tensor:
    """`torch.nn.functional.one_hot` without a check of the values; `num_classes` is required."""
    classes = torch.arange(num_classes, device=index.device)
    return (index[..., None] == classes).to(torch.int64)


def segment_sum(src: Tensor, ptr: Tensor, out: Tensor | None = None) -> Tensor:
    """torch-scatter's sum of rows `ptr[i] .. ptr[i+1]` of `src [E, ...]`: `[N, ...]`."""
    del out
    zeros = src.new_zeros(len(ptr) - 1, *src.shape[1:])
    return zeros.scatter_add(0, _segment_index(src, ptr), src)


def segment_reduce(data: Tensor, reduce: str, *, offsets: Tensor, axis: int = 0) -> Tensor:
    """`torch.segment_reduce` for `reduce="max"` along the first axis."""
    assert reduce == "max"
    assert axis == 0
    lowest = data.new_full((len(offsets) - 1, *data.shape[1:]), -torch.inf)
    return lowest.scatter_reduce(0, _segment_index(data, offsets), data, reduce="amax")


def solve(system: Tensor, right: Tensor) -> Tensor:
    """`torch.linalg.solve` of `[G, n, n]` and `[G, n, k]` by Gauss–Jordan elimination without pivoting.

    Stable only for symmetric positive definite or diagonally dominant matrices. Those that are
    exported are `I - α W` with a normalized `W` and `α` below 1, which is diagonally dominant.
    """
    n = system.shape[-1]
    identity = torch.eye(n, dtype=system.dtype, device=system.device)
    augmented = torch.cat([system, right], dim=-1)
    for k in range(n):
        pivot_row = augmented[..., k : k + 1, :] / augmented[..., k : k + 1, k : k + 1]
        # Subtracting the unit vector leaves the pivot row itself equal to pivot_row.
        factors = augmented[..., k : k + 1] - identity[:, k : k + 1]
        augmented = augmented - factors * pivot_row
    return augmented[..., n:]


def inverse(system: Tensor) -> Tensor:
    """`torch.linalg.inv` of `[G, n, n]`, for the matrices that `solve` is for."""
    identity = torch.eye(system.shape[-1], dtype=system.dtype, device=system.device)
    return solve(system, identity.expand_as(system))


def for_tracing() -> Mapping[Any, Any]:
    """Replacements for functions that cannot be traced."""
    replacements: dict[Any, Any] = {
        torch._C._nn.one_hot: one_hot,
        torch.segment_reduce: segment_reduce,
    }
    try:
        import torch_scatter  # noqa: F401 - its operators exist only after its import
    except (ImportError, OSError):
        # OSError: torch-scatter was built for another version of PyTorch.
        return MappingProxyType(replacements)
    replacements[torch.ops.torch_scatter.segment_sum_csr] = segment_sum
    return MappingProxyType(replacements)


def for_onnx() -> Mapping[Any, Any]:
    """Replacements for functions that cannot be traced or that ONNX has no operator for."""
    replacements = {torch.linalg.solve: solve, torch.linalg.inv: inverse}
    return MappingProxyType({**for_tracing(), **replacements})


def _segment_index(src: Tensor, ptr: Tensor) -> Tensor:
    """The segment of each row, in the shape of `src`."""
    index = torch.repeat_interleave(ptr.diff())
    return index.view(-1, *[1] * (src.ndim - 1)).expand_as(src)
