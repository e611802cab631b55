"""Functions of pairs of nodes, applied in chunks, and once for pairs with the same features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

from graphfew.errors import InvalidInputError

EdgeFunction = Callable[[Tensor, Tensor], Tensor]
Chunk = TypeVar("Chunk")


def check_chunk_size(chunk_size: int | None) -> None:
    """Raise InvalidInputError if the chunk size is below 1."""
    if chunk_size is not None and chunk_size < 1:
        raise InvalidInputError(
            f"chunk_size is {chunk_size}; give at least 1 pair, or None for all pairs at once"
        )


def map_chunks(fn: Callable[[Chunk], Tensor], chunks: Iterable[Chunk], n_rows: int) -> Tensor:
    """Apply `fn` to each chunk and stack the results `[..., C]` as rows `[n_rows, C]`."""
    out, start = None, 0
    for chunk in chunks:
        part = fn(chunk).flatten(0, -2)
        if len(part) == n_rows:
            return part
        # Write into one buffer. A list of results would interleave them in memory with the
        # temporaries of `fn`, and the allocator could not reuse the gaps.
        if out is None:
            out = part.new_empty(n_rows, part.shape[1])
        out[start : start + len(part)] = part
        start += len(part)
    assert out is not None
    return out


def apply_to_distinct_pairs(
    fn: EdgeFunction,
    x: Tensor,
    chunk_size: int | None,
    one: Tensor,
    other: Tensor,
    origin: Tensor,
) -> Tensor:
    """Apply a symmetric function once per distinct pair of origins, and copy its values `[P, C]`.

    `one` and `other`, `[P]`, are the origins of both nodes of each pair; `origin`, `[N]`, those of
    all nodes.
    """
    n_origins = int(origin.max()) + 1
    pair_id = torch.minimum(one, other) * n_origins + torch.maximum(one, other)
    distinct, inverse = torch.unique(pair_id, return_inverse=True)
    # Any node of an origin represents it, because all of them have the same features.
    nodes = torch.arange(len(origin), device=origin.device)
    representative = origin.new_zeros(n_origins).index_copy(0, origin, nodes)

    def apply(chunk: Tensor) -> Tensor:
        first, second = representative[chunk // n_origins], representative[chunk % n_origins]
        return fn(x.index_select(0, first), x.index_select(0, second))

    chunks = torch.split(distinct, chunk_size or len(distinct))
    return map_chunks(apply, chunks, len(distinct))[inverse]
