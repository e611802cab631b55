"""Means over each task's rows, tasks end to end: batched products where all are of one size, else segment kernels."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graphfew.ops import ragged


def common_size(sizes: tuple[int, ...]) -> int | None:
    """The size of all tasks, or None where they differ."""
    return sizes[0] if len(set(sizes)) == 1 else None


def center_tasks(
    values: Float[Tensor, "N F"], sizes: tuple[int, ...], over: Bool[Tensor, " N"] | None = None
) -> Float[Tensor, "N F"]:
    """Each row less the mean of its task's rows, or of those rows of its task that `over` marks."""
    block = common_size(sizes)
    if block is not None:
        rows = values.view(-1, block, values.shape[1])
        if over is None:
            return (rows - rows.mean(1, keepdim=True)).view_as(values)
        share = over.view(-1, 1, block).to(values.dtype)
        return (rows - torch.bmm(share / share.sum(2, keepdim=True), rows)).view_as(values)
    counts = torch.tensor(sizes, device=values.device)
    ptr, task = torch.cat([counts.new_zeros(1), counts.cumsum(0)]), torch.repeat_interleave(counts)
    if over is None:
        return values - (ragged.sum_edges(values, ptr, task) / counts[:, None])[task]
    marked = torch.cat([values, torch.ones_like(values[:, :1])], dim=1) * over[:, None]
    sums = ragged.sum_edges(marked, ptr, task)
    return values - (sums[:, :-1] / sums[:, -1:])[task]
