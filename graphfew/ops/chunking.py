"""A function of pairs of nodes, called a block at a time, and once for pairs that are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

EdgeFunction = Callable[[Tensor, Tensor], Tensor]
Block = TypeVar("Block")


def check(chunk_size: int | None) -> None:
    """Raises ValueError for blocks of no pair."""
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; give at least 1 pair, or None for all")


def repeated(
    fn: EdgeFunction, x: Tensor, chunk_size: int | None, one: Tensor, other: Tensor, origin: Tensor
) -> Tensor:
    """`fn` of pairs of nodes of the given origins `[P]`, once for each two of them."""
    items = int(origin.max()) + 1
    distinct, place = torch.unique(
        torch.minimum(one, other) * items + torch.maximum(one, other), return_inverse=True
    )
    node = origin.new_zeros(items).index_copy(
        0, origin, torch.arange(len(origin), device=origin.device)
    )

    def of(part: Tensor) -> Tensor:
        return fn(x.index_select(0, node[part // items]), x.index_select(0, node[part % items]))

    return joined(of, torch.split(distinct, chunk_size or len(distinct)), len(distinct))[place]


def joined(fn: Callable[[Block], Tensor], blocks: Iterable[Block], rows: int) -> Tensor:
    """`fn` of each block, `[..., C]`, one below the other: `[rows, C]`."""
    values, start = None, 0
    for block in blocks:
        part = fn(block).flatten(0, -2)
        if len(part) == rows:
            return part
        # Written in place: results kept one by one would lie between the blocks' features and keep memory from reuse.
        values = part.new_empty(rows, part.shape[1]) if values is None else values
        values[start : start + len(part)] = part
        start += len(part)
    assert values is not None
    return values
