"""The same primitives where every task is a complete graph of `side` nodes: reshapes and batched products."""

from __future__ import annotations

import torch
from torch import Tensor


def sum_edges(edges: Tensor, side: int) -> Tensor:
    """Sum over each node's incoming edges: `[E, C] -> [N, C]`."""
    return edges.view(-1, side, edges.shape[1]).sum(1)


def softmax(edges: Tensor, side: int) -> Tensor:
    """Softmax over each node's incoming edges, per channel: `[E, C] -> [E, C]`."""
    return edges.view(-1, side, edges.shape[1]).softmax(1).view_as(edges)


def broadcast(values: Tensor, side: int) -> Tensor:
    """Each node's value on all its incoming edges: `[N, C] -> [E, C]`."""
    return values[:, None].expand(-1, side, -1).reshape(-1, values.shape[1])


def propagate(weights: Tensor, x: Tensor, side: int) -> Tensor:
    """Weighted sum over incoming edges, per channel: `[E, C], [N, F] -> [N, C * F]`, channel-major."""
    channels, width = weights.shape[1], x.shape[1]
    by_channel = (
        weights.view(-1, side, side, channels)
        .permute(0, 3, 1, 2)
        .reshape(-1, channels * side, side)
    )
    mixed = torch.bmm(by_channel, x.view(-1, side, width)).view(-1, channels, side, width)
    return mixed.transpose(1, 2).reshape(-1, channels * width)


def propagate_block(
    weights: Tensor, x: Tensor, block: int, receivers: Tensor, senders: Tensor
) -> Tensor:
    """Weighted sum over incoming edges `[E, 1], [N, F] -> [N, F]`, of any edges inside tasks of `block` nodes."""
    table = weights.new_zeros(len(x) * block).index_add(
        0, receivers * block + senders % block, weights[:, 0]
    )
    return torch.bmm(table.view(-1, block, block), x.view(-1, block, x.shape[1])).view(len(x), -1)


def complete_index(tasks: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Senders and receivers `[tasks * side²]` of complete graphs with self-loops, sorted by receiver, then sender."""
    nodes = torch.arange(tasks * side, device=device).view(tasks, 1, side)
    senders = nodes.expand(-1, side, -1).reshape(-1)
    return senders, nodes.view(-1, 1).expand(-1, side).reshape(-1)


def inner_products(x: Tensor, block: int, classes: int, one: Tensor, other: Tensor) -> Tensor:
    """Inner products `[E, 1]` of edge ends inside tasks of `block` nodes, from one table per task.

    With `classes` above 0 that many class nodes of every task follow all items, and an edge joins an item and a class.
    """
    items = len(x) // (block + classes) * block
    rows = x[:items].view(-1, block, x.shape[1])
    columns = x[items:].view(-1, classes, x.shape[1]) if classes else rows
    table = torch.bmm(rows, columns.mT)
    if classes:
        one, other = torch.minimum(one, other), torch.maximum(one, other) - items
    return table.view(-1).index_select(0, one * table.shape[2] + other % table.shape[2])[:, None]
