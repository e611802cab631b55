"""Kernels for complete graphs of equal size: reshapes and batched matrix products.

All tasks have `task_size` nodes, so the edges `[E, C]` are a view of `[tasks, n, n, C]` whose rows
are receivers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sum_edges(edges: Tensor, task_size: int) -> Tensor:
    """Sum the incoming edges of each node: `[E, C] -> [N, C]`."""
    return edges.view(-1, task_size, edges.shape[1]).sum(1)


def softmax(edges: Tensor, task_size: int) -> Tensor:
    """Compute the softmax over the incoming edges of each node: `[E, C] -> [E, C]`."""
    by_receiver = edges.view(-1, task_size, edges.shape[1])
    return by_receiver.softmax(1).view_as(edges)


def broadcast(values: Tensor, task_size: int) -> Tensor:
    """Copy the value of each node to its incoming edges: `[N, C] -> [E, C]`."""
    return values[:, None].expand(-1, task_size, -1).reshape(-1, values.shape[1])


def propagate(weights: Tensor, x: Tensor, task_size: int) -> Tensor:
    """Sum the senders' features, weighted by each channel: `[E, C], [N, F] -> [N, C * F]`."""
    channels, width = weights.shape[1], x.shape[1]
    matrices = weights.view(-1, task_size, task_size, channels)
    # Channels become further rows of the left factor: one product per task instead of one per
    # task and channel.
    matrices = matrices.permute(0, 3, 1, 2).reshape(-1, channels * task_size, task_size)
    products = torch.bmm(matrices, x.view(-1, task_size, width))
    products = products.view(-1, channels, task_size, width)
    return products.transpose(1, 2).reshape(-1, channels * width)


def propagate_sparse(
    weights: Tensor, x: Tensor, task_size: int, receivers: Tensor, senders: Tensor
) -> Tensor:
    """Sum the weighted features of the senders, for any edges inside tasks of equal size.

    The edges are written to one dense matrix per task, since a batched product is faster than
    segment sums at the sizes of few-shot tasks: `[E, 1], [N, F] -> [N, F]`.
    """
    cell = receivers * task_size + senders % task_size
    matrices = weights.new_zeros(len(x) * task_size).index_add(0, cell, weights[:, 0])
    matrices = matrices.view(-1, task_size, task_size)
    return torch.bmm(matrices, x.view(-1, task_size, x.shape[1])).view(len(x), -1)


def complete_index(n_tasks: int, task_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return senders and receivers `[E]` of complete graphs with self-loops, sorted by receiver."""
    nodes = torch.arange(n_tasks * task_size, device=device).view(n_tasks, 1, task_size)
    senders = nodes.expand(-1, task_size, -1).reshape(-1)
    receivers = nodes.view(-1, 1).expand(-1, task_size).reshape(-1)
    return senders, receivers


def inner_products(x: Tensor, task_size: int, receivers: Tensor, senders: Tensor) -> Tensor:
    """Compute the inner product `[E, 1]` of the two nodes of each edge from one table per task."""
    items = x.view(-1, task_size, x.shape[1])
    table = torch.bmm(items, items.mT)
    cell = receivers * task_size + senders % task_size
    return table.view(-1).index_select(0, cell)[:, None]
