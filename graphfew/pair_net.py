"""Networks of pairs of nodes: one pass over all pairs in training, in evaluation folded and a block at a time."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.graph import Graph, Topology
from graphfew.layers import RowNorm, absolute_difference

# Second-level cache of a machine that does not tell, and what a block may hold where there is no such cache to stay in.
CACHE, ELSEWHERE = 1 << 20, 1 << 28

Rows = Callable[[Tensor], Tensor]


def frozen(net: nn.Module) -> bool:
    """Whether each row's answer depends on that row alone: no dropout, no statistics of the batch."""
    return not any(module.training for module in net.modules() if isinstance(module, nn.BatchNorm2d | nn.Dropout))


def short(graph: Graph, net: nn.Module) -> bool:
    """Whether a frozen network of edges into queries alone has less than half of the edges to do."""
    sizes = graph.episode.sizes
    asked = sum(n * q for n, q in zip(sizes, graph.episode.queries, strict=True))
    return frozen(net) and 2 * asked < sum(n * n for n in sizes)


def pairs(topology: Topology, net: nn.Sequential, x: Float[Tensor, "N F"], *, loops: float,
          origin: Tensor | None = None) -> Float[Tensor, "E 1"]:
    """Edges `[E, 1]`: `net(|x_i - x_j|)`, run once per unordered pair of distinct nodes of a complete topology.

    Args:
        topology: complete.
        net: `Linear`, `RowNorm` and `Dropout`, rows `[P, F] -> [P, 1]`.
        x: nodes.
        loops: the value of self-loops.
        origin: `[N]` int64, nodes with the same number being alike in `x`, so that pairs of the same two numbers have
            one answer; None where all may differ.
    """
    still = frozen(net)
    run = folded(net) if still else net
    return topology.pair(lambda a, b: run(absolute_difference(a, b)), x, loops=loops,
                         at_once=block(net, x) if still else None, origin=origin if still else None)


def pairs_into(topology: Topology, net: nn.Sequential, x: Float[Tensor, "N F"], *, loops: float
               ) -> Float[Tensor, "E 1"]:
    """As `pairs` on any topology, for a frozen network: every edge by itself."""
    run = folded(net)
    values = topology.pair_ordered(lambda a, b: run(absolute_difference(a, b)), x, at_once=block(net, x))
    return values.masked_fill(topology.loops[:, None], loops)


def folded(net: nn.Sequential) -> Rows:
    """The frozen network with each batch norm folded into the map before it; under autocast in its lower precision.

    Weights are folded once, so that blocks of rows share the work.
    """
    steps = _steps(net)
    given, device = steps[-1][0].dtype, steps[-1][0].device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else given
    steps = [(weight.to(low), bias.to(low), slope) for weight, bias, slope in steps]

    def run(rows: Tensor) -> Tensor:
        with torch.autocast(device, enabled=False):
            rows = rows.to(low)
            for weight, bias, slope in steps:
                rows = F.linear(rows, weight, bias)
                rows = rows if slope is None else F.leaky_relu(rows, slope, inplace=True)
            return rows.to(given)

    return run


def block(net: nn.Sequential, x: Tensor) -> int:
    """Pairs of one block: as many as keep a map's input and output in the second-level caches of all threads."""
    row = x.element_size() * max(m.in_features + m.out_features for m in net if isinstance(m, nn.Linear))
    room = _cache() * torch.get_num_threads() if x.device.type == "cpu" else ELSEWHERE
    return 1 << max(6, (room // row).bit_length() - 1)


def _steps(net: nn.Sequential) -> list[tuple[Tensor, Tensor, float | None]]:
    """Weight, bias and slope of each map with the norm that follows it."""
    out: list[tuple[Tensor, Tensor, float | None]] = []
    for module in net:
        if isinstance(module, nn.Linear):
            missing = module.weight.new_zeros(module.out_features)
            out.append((module.weight, missing if module.bias is None else module.bias, None))
        elif isinstance(module, RowNorm):
            weight, bias, _ = out.pop()
            scale, shift = module.affine()
            out.append((weight * scale[:, None], bias * scale + shift, module.slope))
    return out


def _cache() -> int:
    """Bytes of a core's second-level cache."""
    try:
        return os.sysconf("SC_LEVEL2_CACHE_SIZE") or CACHE
    except (AttributeError, ValueError, OSError):
        return CACHE
