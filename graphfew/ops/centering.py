"""Subtraction of the mean of each task."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graphfew.ops import ragged


def common_size(sizes: tuple[int, ...]) -> int | None:
    """Return the size of all tasks, or None if they differ."""
    return sizes[0] if len(set(sizes)) == 1 else None


def center_tasks(
    values: Float[Tensor, "N F"], sizes: tuple[int, ...], mask: Bool[Tensor, " N"] | None = None
) -> Float[Tensor, "N F"]:
    """Subtract from each row the mean of its task, over all rows or only the marked ones.

    Args:
        values: `[N, F]`.
        sizes: number of rows of each task.
        mask: `[N]` bool, the rows that count for the mean; None counts all.

    Returns:
        `[N, F]`.
    """
    task_size = common_size(sizes)
    if task_size is not None:
        return _center_equal_tasks(values, task_size, mask)
    counts = torch.tensor(sizes, device=values.device)
    ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    task = torch.repeat_interleave(counts)
    if mask is None:
        means = ragged.sum_edges(values, ptr, task) / counts[:, None]
        return values - means[task]
    # A column of ones counts the marked rows of each task in the same segment sum.
    ones = torch.ones_like(values[:, :1])
    marked = torch.cat([values, ones], dim=1) * mask[:, None]
    sums = ragged.sum_edges(marked, ptr, task)
    means = sums[:, :-1] / sums[:, -1:]
    return values - means[task]


def subtract_per_task(
    values: Float[Tensor, "N F"], offsets: Float[Tensor, "T F"], sizes: tuple[int, ...]
) -> Float[Tensor, "N F"]:
    """Subtract from each row the offset of its task.

    Args:
        values: `[N, F]`.
        offsets: `[T, F]`.
        sizes: number of rows of each task.

    Returns:
        `[N, F]`.
    """
    task_size = common_size(sizes)
    if task_size is not None:
        # A view instead of a copy of the offsets for every row.
        rows = values.view(-1, task_size, values.shape[1])
        return (rows - offsets[:, None]).view_as(values)
    counts = torch.tensor(sizes, device=values.device)
    return values - offsets.repeat_interleave(counts, 0, output_size=len(values))


def _center_equal_tasks(values: Tensor, task_size: int, mask: Tensor | None) -> Tensor:
    rows = values.view(-1, task_size, values.shape[1])
    if mask is None:
        return (rows - rows.mean(1, keepdim=True)).view_as(values)
    weights = mask.view(-1, 1, task_size).to(values.dtype)
    weights = weights / weights.sum(2, keepdim=True)
    return (rows - torch.bmm(weights, rows)).view_as(values)
