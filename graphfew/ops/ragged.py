"""Primitives over edges sorted by receiver, for tasks of any and mixed size."""

from __future__ import annotations

import torch
from torch import Tensor

from graphfew.ops import segment


def sum_edges(edges: Tensor, ptr: Tensor, receivers: Tensor) -> Tensor:
    """Sum over each node's incoming edges: `[E, C] -> [N, C]`."""
    return segment.segment_sum(edges, ptr, receivers)


def softmax(edges: Tensor, ptr: Tensor, receivers: Tensor) -> Tensor:
    """Softmax over each node's incoming edges, per channel: `[E, C] -> [E, C]`."""
    mass = (edges - segment.segment_max(edges, ptr, receivers)[receivers]).exp()
    return mass / segment.segment_sum(mass, ptr, receivers)[receivers]


def propagate(
    weights: Tensor, x: Tensor, senders: Tensor, receivers: Tensor, ptr: Tensor
) -> Tensor:
    """Weighted sum over incoming edges, per channel: `[E, C], [N, F] -> [N, C * F]`, channel-major."""
    sent = x.index_select(0, senders)
    # One channel at a time: all at once would hold [E, C, F].
    parts = [
        segment.segment_sum(weights[:, c : c + 1] * sent, ptr, receivers)
        for c in range(weights.shape[1])
    ]
    return torch.cat(parts, dim=1)


def ragged_matmul(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Every (row, column) of the same task, row by row; `rows [T]` and `columns [T]` count those of each task.

    Both are numbered over all tasks, end to end.
    """
    task = torch.repeat_interleave(rows)
    lengths = columns[task]
    row = torch.repeat_interleave(lengths)
    within = torch.arange(len(row), device=row.device) - (lengths.cumsum(0) - lengths)[row]
    return row, (columns.cumsum(0) - columns)[task[row]] + within


def complete_index(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Senders and receivers `[sum(n²)]` of complete graphs with self-loops, sorted by receiver, then sender."""
    side = torch.tensor(sizes, device=device)
    receivers, senders = ragged_matmul(side, side)
    return senders, receivers


def pair_index(sizes: tuple[int, ...], senders: Tensor, receivers: Tensor) -> tuple[Tensor, Tensor]:
    """Edge numbers `[P]` of each unordered pair of distinct nodes: to the smaller node, and to the larger."""
    one_way = torch.nonzero(senders > receivers).flatten()
    side = torch.tensor(sizes, device=senders.device)
    start = side.cumsum(0) - side
    first = (side * side).cumsum(0) - side * side
    task = torch.bucketize(one_way, first, right=True) - 1
    i, j = receivers[one_way] - start[task], senders[one_way] - start[task]
    return one_way, first[task] + j * side[task] + i
