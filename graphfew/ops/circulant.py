"""Unordered pairs of the nodes of equal-sized tasks, in circulant order.

The `n` nodes of a task are arranged on a circle, and node `i` is paired with node `i + d mod n` for
each shift `d = 1 .. (n - 1) // 2`. This order lists every pair once, and all pairs of one shift are
two contiguous views of the node features (once the first nodes are appended again), so that no
features are gathered. If `n` is even, the shift `n / 2` would list every pair twice; only its
first half is used, and its pairs come last, after those of all tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def pair_edges(n_tasks: int, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the two edges of each pair, `[P]` each, as indices of edges sorted by receiver."""
    i = torch.arange(n, device=device)
    shifts = torch.arange(1, (n + 1) // 2, device=device)[:, None]
    j = (i + shifts) % n
    first_edge = torch.arange(n_tasks, device=device)[:, None, None] * n * n
    half = i[: _half_shift_pairs(n)]
    opposite = half + n // 2
    one_way = [first_edge + i * n + j, first_edge + half * n + opposite]
    other_way = [first_edge + j * n + i, first_edge + opposite * n + half]
    return _flat_cat(one_way), _flat_cat(other_way)


def pair_nodes(n_tasks: int, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the two nodes of each pair, `[P]` each."""
    edge, _ = pair_edges(n_tasks, n, device)
    task = edge // (n * n)
    return edge // n, task * n + edge % n


def pair_chunks(x: Tensor, n: int, chunk_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the features of both nodes of at most `chunk_size` pairs, in order.

    They are views `[..., F]` that broadcast against each other.
    """
    nodes = x.view(-1, n, x.shape[1])
    n_shifts, half = (n - 1) // 2, _half_shift_pairs(n)
    if n_shifts:
        # shifted[t, d, i] is node i + d of task t, as a view without a copy.
        shifted = _wrap(nodes).unfold(1, n, 1).transpose(2, 3)
        for tasks, shifts, span in _chunk_slices(len(nodes), n_shifts, n, chunk_size):
            yield nodes[tasks, None, span], shifted[tasks, 1:][:, shifts, span]
    if half:
        for tasks, _, span in _chunk_slices(len(nodes), 1, half, chunk_size):
            yield nodes[tasks, :half][:, span], nodes[tasks, half:][:, span]


def differences(x: Tensor, n: int) -> Tensor:
    """Compute `|x_i - x_j|`, `[P, F]`, of all pairs."""
    if torch.compiler.is_compiling():
        # Dynamo does not trace the in-place loops of the custom function.
        one, other = pair_nodes(len(x) // n, n, x.device)
        return (x[one] - x[other]).abs()
    out: Tensor = _Differences.apply(x, n)  # type: ignore[no-untyped-call]
    return out


class _Differences(torch.autograd.Function):
    """Absolute differences of all pairs, one shift at a time.

    The forward pass writes only its result, and saves only `x`. The backward pass recomputes the
    signs and adds to views of the gradient, so that neither pass gathers or scatters `[P, F]` rows.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.n = n
        nodes = x.reshape(-1, n, x.shape[1])
        out = x.new_empty(len(nodes) * (n * (n - 1) // 2), x.shape[1])
        for one, other, rows in _shift_views(_wrap(nodes), n, out):
            torch.sub(one, other, out=rows).abs_()
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,), (grad,), n = ctx.saved_tensors, grads, ctx.n
        nodes = x.reshape(-1, n, x.shape[1])
        if torch.is_grad_enabled():
            # Double backward: the in-place sums below are not differentiable, index_add is.
            one, other = pair_nodes(len(nodes), n, x.device)
            signed = (x[one] - x[other]).sign() * grad
            d_x = torch.zeros_like(x).index_add(0, one, signed).index_add(0, other, -signed)
            return d_x, None
        wrapped = _wrap(nodes)
        total = torch.zeros_like(wrapped)
        features = _shift_views(wrapped, n, grad)
        sums = _shift_views(total, n, grad)
        for (one, other, rows), (one_sum, other_sum, _) in zip(features, sums, strict=True):
            signed = (one - other).sign() * rows
            one_sum += signed
            other_sum -= signed
        # Rows n .. are copies of the first nodes, so their gradients belong to those.
        total[:, : total.shape[1] - n] += total[:, n:]
        return total[:, :n].reshape(x.shape), None


def _half_shift_pairs(n: int) -> int:
    """Return the number of pairs of the shift `n / 2`, 0 if n is odd."""
    return 0 if n % 2 else n // 2


def _flat_cat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.view(-1) for part in parts])


def _wrap(nodes: Tensor) -> Tensor:
    """Append the first nodes `[T, n, F]` again, so that every shift is a view."""
    n_shifts = (nodes.shape[1] - 1) // 2
    return torch.cat([nodes, nodes[:, :n_shifts]], dim=1)


def _shift_views(wrapped: Tensor, n: int, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield for each shift both nodes of its pairs and their rows of `pairs [P, F]`, as views."""
    n_shifts, half, n_tasks = (n - 1) // 2, _half_shift_pairs(n), len(wrapped)
    n_full = n_tasks * n_shifts * n
    full = pairs[:n_full].view(n_tasks, n_shifts, n, pairs.shape[1])
    for d in range(1, n_shifts + 1):
        yield wrapped[:, :n], wrapped[:, d : d + n], full[:, d - 1]
    if half:
        rows = pairs[n_full:].view(n_tasks, half, pairs.shape[1])
        yield wrapped[:, :half], wrapped[:, half:n], rows


def _chunk_slices(
    n_tasks: int, n_shifts: int, n: int, chunk_size: int
) -> Iterator[tuple[slice, slice, slice]]:
    """Split the grid of tasks, shifts and nodes into runs of at most `chunk_size` pairs.

    A run covers several whole tasks if one task fits, else several whole shifts of one task if one
    shift fits, else a part of one shift: the pairs of a run are always consecutive.
    """
    everything = slice(None)
    if n_shifts * n <= chunk_size:
        for tasks in _even_slices(n_tasks, chunk_size // (n_shifts * n)):
            yield tasks, everything, everything
        return
    for t in range(n_tasks):
        task = slice(t, t + 1)
        if n <= chunk_size:
            for shifts in _even_slices(n_shifts, chunk_size // n):
                yield task, shifts, everything
            continue
        for d in range(n_shifts):
            for span in _even_slices(n, chunk_size):
                yield task, slice(d, d + 1), span


def _even_slices(length: int, max_size: int) -> Iterator[slice]:
    """Split `0 .. length` into slices of equal size, at most `max_size`, with a shorter last."""
    n_slices = -(-length // max_size)
    size = -(-length // n_slices)
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
