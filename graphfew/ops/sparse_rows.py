"""Products of the rows of a sparse matrix with a dense one."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def sum_weighted_rows(
    x: Float[Tensor, "N C"],
    index: Int[Tensor, " E"],
    ptr: Int[Tensor, " n1"],
    weights: Float[Tensor, " E"],
) -> Float[Tensor, "n C"]:
    """Sum weighted rows of a matrix over segments, without gradients or an array of E rows.

    Args:
        x: `[N, C]`.
        index: rows of `x`, `[E]`.
        ptr: `[n + 1]`; segment `i` is `ptr[i] .. ptr[i + 1]`.
        weights: `[E]`.

    Returns:
        `[n, C]`.

    Example:
        >>> import torch
        >>> from graphfew.ops.sparse_rows import sum_weighted_rows
        >>> index, ptr = torch.tensor([0, 1]), torch.tensor([0, 2])
        >>> sum_weighted_rows(torch.tensor([[1.0], [2.0]]), index, ptr, torch.tensor([3.0, 4.0]))
        tensor([[11.]])
    """
    out: Tensor = F.embedding_bag(
        index, x, ptr, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
    return out
