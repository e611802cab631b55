"""Kernels for edges sorted by receiver, of tasks of any and mixed size."""

from __future__ import annotations

import torch
from torch import Tensor

from graphfew.ops import segment


def sum_edges(edges: Tensor, ptr: Tensor, receivers: Tensor) -> Tensor:
    """Sum the incoming edges of each node: `[E, C] -> [N, C]`."""
    return segment.segment_sum(edges, ptr, receivers)


def softmax(edges: Tensor, ptr: Tensor, receivers: Tensor) -> Tensor:
    """Compute the softmax over the incoming edges of each node: `[E, C] -> [E, C]`."""
    largest = segment.segment_max(edges, ptr, receivers)
    mass = (edges - largest[receivers]).exp()
    return mass / segment.segment_sum(mass, ptr, receivers)[receivers]


def propagate(
    weights: Tensor, x: Tensor, senders: Tensor, receivers: Tensor, ptr: Tensor
) -> Tensor:
    """Sum the senders' features, weighted by each channel: `[E, C], [N, F] -> [N, C * F]`."""
    messages = x.index_select(0, senders)
    # One channel at a time: all at once would need [E, C, F].
    channels = []
    for c in range(weights.shape[1]):
        weighted = weights[:, c : c + 1] * messages
        channels.append(segment.segment_sum(weighted, ptr, receivers))
    return torch.cat(channels, dim=1)


def ragged_product(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return all (row, column) pairs inside each task, sorted by row.

    `rows [T]` and `columns [T]` are the numbers of rows and columns of each task. The result
    numbers both over all tasks.
    """
    task = torch.repeat_interleave(rows)
    columns_of_row = columns[task]
    row = torch.repeat_interleave(columns_of_row)
    first_pair = columns_of_row.cumsum(0) - columns_of_row
    column_in_task = torch.arange(len(row), device=row.device) - first_pair[row]
    first_column = columns.cumsum(0) - columns
    return row, first_column[task[row]] + column_in_task


def complete_index(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return senders and receivers `[E]` of complete graphs with self-loops, sorted by receiver."""
    n = torch.tensor(sizes, device=device)
    receivers, senders = ragged_product(n, n)
    return senders, receivers


def pair_edges(sizes: tuple[int, ...], senders: Tensor, receivers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two edges of each unordered pair: into its smaller and into its larger node."""
    one_way = torch.nonzero(senders > receivers).flatten()
    n = torch.tensor(sizes, device=senders.device)
    first_node = n.cumsum(0) - n
    first_edge = (n * n).cumsum(0) - n * n
    task = torch.bucketize(one_way, first_edge, right=True) - 1
    i = receivers[one_way] - first_node[task]
    j = senders[one_way] - first_node[task]
    other_way = first_edge[task] + j * n[task] + i
    return one_way, other_way
