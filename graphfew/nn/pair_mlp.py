"""Networks of pairs of nodes: one pass over all pairs in training, in evaluation folded and a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from graphfew._utils.patching import patched_attributes
from graphfew.core.graph import EdgeFunction, Graph, Topology
from graphfew.nn.layers import RowNorm
from graphfew.ops.matmul import linear, prefers_convolution

# Second-level cache of a machine that does not tell, what a block may hold where there is no such cache to stay in, and
# the floats of a cache line.
CACHE, ELSEWHERE, LINE = 1 << 20, 1 << 28, 16

Step = tuple[Tensor, Tensor, float | None]
PairKernel = Callable[["PairMLP", Tensor, Tensor, Tensor], Tensor]


@final
class PairMLP(nn.Sequential):
    """A network of pairs, rows `[P, F] -> [P, 1]`, of `Linear`, `RowNorm` and `Dropout`.

    Attributes:
        recompute: in training keep the nodes alone, and work all rows out again when gradients are asked for.
        kernel: what gives its values of pairs of nodes, `(net, x, one, other) -> [P, 1]`; None runs it as it is.
    """

    recompute = False
    kernel: PairKernel | None = None

    def forward(self, rows: Float[Tensor, "P F"]) -> Float[Tensor, "P 1"]:
        """Rows of pairs to a number each."""
        for module in self:
            rows = (
                linear(rows, module.weight, module.bias)
                if isinstance(module, nn.Linear)
                else module(rows)
            )
        return rows


def activation_checkpointing(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block every `PairNet` of the model has `recompute` set: less memory, more time, the same numbers."""
    return patched_attributes(
        (m for m in model.modules() if isinstance(m, PairMLP)), "recompute", True
    )


def frozen(net: nn.Module) -> bool:
    """Whether each row's answer depends on that row alone: no dropout, no statistics of the batch."""
    return not any(
        module.training
        for module in net.modules()
        if isinstance(module, nn.BatchNorm2d | nn.Dropout)
    )


def short(graph: Graph, net: nn.Module) -> bool:
    """Whether a frozen network of edges into queries alone has less than half of the edges to do."""
    sizes = graph.episode.sizes
    asked = sum(n * q for n, q in zip(sizes, graph.episode.n_queries, strict=True))
    return frozen(net) and 2 * asked < sum(n * n for n in sizes)


def pairs(
    topology: Topology,
    net: PairMLP,
    x: Float[Tensor, "N F"],
    *,
    loops: float,
    origin: Tensor | None = None,
) -> Float[Tensor, "E 1"]:
    """Edges `[E, 1]`: `net(|x_i - x_j|)`, run once per unordered pair of distinct nodes of a complete topology.

    Args:
        topology: complete.
        net: see there.
        x: nodes.
        loops: the value of self-loops.
        origin: `[N]` int64, nodes with the same number being alike in `x`, so that pairs of the same two numbers have
            one answer; None where all may differ.
    """
    if net.kernel is not None:
        return topology.pairs_to_edges(
            net.kernel(net, x, *topology.pair_nodes()), self_loop_value=loops
        )
    # A compiler fuses what blocks and folding are for.
    if torch.compiler.is_compiling() or not frozen(net):
        return topology.pairs_to_edges(_learning(topology, net, x), self_loop_value=loops)
    return topology.apply_pairs(
        folded(net), x, self_loop_value=loops, chunk_size=block(net, x), origin=origin
    )


def _learning(topology: Topology, net: PairMLP, x: Tensor) -> Tensor:
    """All pairs at once, as batch statistics need them."""

    def run(nodes: Tensor) -> Tensor:
        values: Tensor = net(topology.pair_differences(nodes))
        return values

    if not (net.recompute and torch.is_grad_enabled()):
        return run(x)
    values: Tensor = checkpoint(
        run, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _unfollowed(net))
    )
    return values


@contextmanager
def _unfollowed(net: nn.Module) -> Iterator[None]:
    """Running statistics of batch norms stay as they are, which have followed these rows already."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [
        (m.momentum, None if m.num_batches_tracked is None else m.num_batches_tracked.clone())
        for m in norms
    ]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)


def pairs_into(
    topology: Topology, net: PairMLP, x: Float[Tensor, "N F"], *, loops: float
) -> Float[Tensor, "E 1"]:
    """As `pairs` on any topology, for a frozen network: every edge by itself."""
    if net.kernel is not None:
        values = net.kernel(net, x, topology.receivers, topology.senders)
    else:
        values = topology.apply_edges(folded(net), x, chunk_size=block(net, x))
    return values.masked_fill(topology.is_self_loop[:, None], loops)


def folded(net: nn.Sequential) -> EdgeFunction:
    """The frozen network of `|a - b|` with each batch norm folded into the map before it, from ends `[..., F]` to rows
    `[P, 1]`, in the precision of autocast.

    Weights are folded once, so that blocks of rows share the work.
    """
    steps = folded_steps(net)
    given, device = steps[-1][0].dtype, steps[-1][0].device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else given
    convolving = given == torch.float32 and prefers_convolution()
    if low == given and device == "cpu" and not convolving and not torch.is_grad_enabled():
        return _in_place(steps)
    steps = [(weight.to(low), bias.to(low), slope) for weight, bias, slope in steps]

    def run(a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(device, enabled=False):
            values = (a - b).abs_().to(low).flatten(0, -2)
            for weight, bias, slope in steps:
                values = linear(values, weight, bias)
                values = values if slope is None else F.leaky_relu(values, slope, inplace=True)
            return values.to(given)

    return run


def _in_place(steps: Sequence[Step]) -> EdgeFunction:
    """The folded network on the CPU: every block is written over the one before it.

    A bias is one more row of its weights, for inputs that end in a 1: added by itself it costs a fifth of the product,
    and with that column nothing.
    """
    weights = [torch.cat([weight.t(), bias[None]]) for weight, bias, _ in steps]
    slopes = [slope for *_, slope in steps]
    shelf: list[Tensor] = []
    views: dict[int, tuple[list[Tensor], list[Tensor]]] = {}

    def room(rows: int) -> tuple[list[Tensor], list[Tensor]]:
        """The inputs of so many rows with their column of ones, and without."""
        if not shelf or rows > len(shelf[0]):
            shelf[:] = _shelf(weights, rows)
            views.clear()
        if rows not in views:
            views[rows] = (
                [buffer[:rows] for buffer in shelf],
                [buffer[:rows, :-1] for buffer in shelf],
            )
        return views[rows]

    def run(a: Tensor, b: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]
        whole, inner = room(shape[:-1].numel())
        torch.sub(a, b, out=inner[0].view(shape)).abs_()
        for before, weight, slope, after in zip(whole, weights, slopes, inner[1:], strict=False):
            torch.mm(before, weight, out=after)
            if slope is not None:
                F.leaky_relu(after, slope, inplace=True)
        return whole[-1] @ weights[-1]

    return run


def block(net: nn.Sequential, x: Tensor) -> int:
    """Pairs of one block: as many as take a map's input and output half over the second-level caches of all threads.

    A call costs as much as some 70 pairs, and what little leaves that cache is still in the next.
    """
    row = x.element_size() * max(
        m.in_features + m.out_features for m in net if isinstance(m, nn.Linear)
    )
    room = (
        3 * second_level_cache() // 2 * torch.get_num_threads()
        if x.device.type == "cpu"
        else ELSEWHERE
    )
    return max(64, room // row)


def _shelf(weights: Sequence[Tensor], rows: int) -> list[Tensor]:
    """A buffer for the input of each map, `[rows, in + 1]`, its last column 1; neighbors differ, others may share."""
    kept: dict[tuple[int, int], Tensor] = {}
    for place, weight in enumerate(weights):
        width = len(weight)
        if (width, place % 2) not in kept:
            kept[width, place % 2] = weight.new_empty(rows, -(-width // LINE) * LINE)[:, :width]
            kept[width, place % 2][:, -1] = 1
    return [kept[len(weight), place % 2] for place, weight in enumerate(weights)]


def folded_steps(net: nn.Sequential) -> list[Step]:
    """Weight, bias and slope of each map with the norm that follows it."""
    out: list[Step] = []
    for module in net:
        if isinstance(module, nn.Linear):
            missing = module.weight.new_zeros(module.out_features)
            out.append((module.weight, missing if module.bias is None else module.bias, None))
        elif isinstance(module, RowNorm):
            weight, bias, _ = out.pop()
            scale, shift = module.affine()
            out.append((weight * scale[:, None], bias * scale + shift, module.slope))
    return out


@cache
def second_level_cache() -> int:
    """Bytes of a core's second-level cache, as Linux tells them; 1 MiB where nothing does."""
    for level in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/level"):
        size = level.with_name("size")
        try:
            if level.read_text().strip() == "2":
                return int(size.read_text().strip().removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return CACHE
