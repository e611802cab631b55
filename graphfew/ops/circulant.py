"""Unordered pairs of a task's nodes on a circle: node `i` with the node `d` further on, for `d` up to half-way round.

One shift of the nodes against themselves gives as many pairs as there are nodes, by views alone. Where nodes are even
in number, half-way round each pair would come twice: half of those stand at the end, after the pairs of all tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def pair_index(tasks: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Edge numbers `[P]` of each unordered pair of distinct nodes: to its one node, and to the other."""
    i = torch.arange(side, device=device)
    j = (i + torch.arange(1, (side + 1) // 2, device=device)[:, None]) % side
    first = torch.arange(tasks, device=device)[:, None, None] * side * side
    half = i[: _half(side)]
    across = half + side // 2
    one = torch.cat([(first + i * side + j).view(-1), (first + half * side + across).view(-1)])
    other = torch.cat([(first + j * side + i).view(-1), (first + across * side + half).view(-1)])
    return one, other


def pair_nodes(tasks: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Both ends `[P]` of each pair."""
    edge, _ = pair_index(tasks, side, device)
    return edge // side, edge // (side * side) * side + edge % side


def ends(x: Tensor, side: int, chunk_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Both ends of the pairs in order, at most so many pairs at once: `[..., F]` views that broadcast."""
    nodes = x.view(-1, side, x.shape[1])
    shifts, half = (side - 1) // 2, _half(side)
    if shifts:
        turned = _turned(nodes).unfold(1, side, 1).transpose(2, 3)
        for tasks, turns, span in _blocks(len(nodes), shifts, side, chunk_size):
            yield nodes[tasks, None, span], turned[tasks, 1:][:, turns, span]
    if half:
        for tasks, _, span in _blocks(len(nodes), 1, half, chunk_size):
            yield nodes[tasks, :half][:, span], nodes[tasks, half:][:, span]


def differences(x: Tensor, side: int) -> Tensor:
    """`|x_i - x_j|` `[P, F]` of all pairs."""
    if torch.compiler.is_compiling():
        one, other = pair_nodes(len(x) // side, side, x.device)
        return (x[one] - x[other]).abs()
    out: Tensor = _Differences.apply(x, side)  # type: ignore[no-untyped-call]
    return out


class _Differences(torch.autograd.Function):
    """A shift at a time: forward nothing but the differences is written, backward no gradient is gathered by pairs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.side = side
        nodes = x.reshape(-1, side, x.shape[1])
        out = x.new_empty(len(nodes) * (side * (side - 1) // 2), x.shape[1])
        for one, other, rows in _shifts(_turned(nodes), side, out):
            torch.sub(one, other, out=rows).abs_()
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,), (grad,), side = ctx.saved_tensors, grads, ctx.side
        turned = _turned(x.reshape(-1, side, x.shape[1]))
        if torch.is_grad_enabled():  # to be differentiated again
            one, other = pair_nodes(len(turned), side, x.device)
            signed = (x[one] - x[other]).sign() * grad
            return torch.zeros_like(x).index_add(0, one, signed).index_add(0, other, -signed), None
        total = torch.zeros_like(turned)
        for (one, other, rows), (to_one, to_other, _) in zip(
            _shifts(turned, side, grad), _shifts(total, side, grad), strict=True
        ):
            signed = (one - other).sign() * rows
            to_one += signed
            to_other -= signed
        total[:, : total.shape[1] - side] += total[:, side:]
        return total[:, :side].reshape(x.shape), None


def _half(side: int) -> int:
    """Pairs half-way round the circle."""
    return side // 2 if side % 2 == 0 else 0


def _turned(nodes: Tensor) -> Tensor:
    """Nodes `[T, n, F]`, and the first of them again: `[T, n + shifts, F]`."""
    return torch.cat([nodes, nodes[:, : (nodes.shape[1] - 1) // 2]], dim=1)


def _shifts(turned: Tensor, side: int, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each shift, its pairs' ends and their rows of `pairs [P, F]`, as views `[T, n, F]`."""
    shifts, half, tasks = (side - 1) // 2, _half(side), len(turned)
    whole = pairs[: tasks * shifts * side].view(tasks, shifts, side, pairs.shape[1])
    for d in range(1, shifts + 1):
        yield turned[:, :side], turned[:, d : d + side], whole[:, d - 1]
    if half:
        yield (
            turned[:, :half],
            turned[:, half:side],
            pairs[tasks * shifts * side :].view(tasks, half, pairs.shape[1]),
        )


def _blocks(
    tasks: int, shifts: int, span: int, chunk_size: int
) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of the grid of tasks, shifts and nodes, each a run of pairs of at most `chunk_size`."""
    if shifts * span <= chunk_size:
        for part in _even(tasks, chunk_size // (shifts * span)):
            yield part, slice(None), slice(None)
        return
    for t in range(tasks):
        if span <= chunk_size:
            for part in _even(shifts, chunk_size // span):
                yield slice(t, t + 1), part, slice(None)
            continue
        for d in range(shifts):
            for part in _even(span, chunk_size):
                yield slice(t, t + 1), slice(d, d + 1), part


def _even(count: int, most: int) -> Iterator[slice]:
    """Runs of one length, at most `most`, that together are `count`; the last may be shorter."""
    length = -(-count // -(-count // most))
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))
