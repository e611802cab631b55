"""Pairwise MLPs: an MLP of `|x_i - x_j|` for every pair of nodes.

EGNN and GNN spend most of their time here, so there are four paths with the same values:

- training: all pairs in one pass, since batch norm needs the statistics of all of them;
- frozen (evaluation): batch norm folded into the linear layers, chunk by chunk (`fold`);
- frozen on a CPU: the same with reused buffers (`graphfew.ops.cpu_pair_mlp`);
- `PairMLP.kernel`: a fused GPU kernel (`graphfew.nn.fused_pair_mlp`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from graphfew._utils.patching import patched_attributes
from graphfew.core.graph import Graph
from graphfew.core.topology import Topology
from graphfew.nn.layers import RowNorm
from graphfew.ops.chunking import EdgeFunction
from graphfew.ops.cpu_pair_mlp import LinearStep, buffered_pair_mlp, cache_chunk_bytes
from graphfew.ops.matmul import linear, prefers_convolution

# Off the CPU there is no cache to fit into; the limit bounds memory.
GPU_CHUNK_BYTES = 1 << 28
MIN_CHUNK = 64

PairKernel = Callable[["PairMLP", Tensor, Tensor, Tensor], Tensor]


@final
class PairMLP(nn.Sequential):
    """An MLP over pair features, `[P, F] -> [P, 1]`, of `Linear`, `RowNorm` and `Dropout`.

    Attributes:
        recompute: in training, whether to store the nodes only and recompute the pair features
            and activations in the backward pass; set by `activation_checkpointing`.
        kernel: `(net, x, first, second) -> [P, 1]`, which computes the values of node pairs
            instead of `forward`; set by `fused_kernels`, else None.

    Example:
        >>> import torch
        >>> from graphfew.nn.layers import blocks
        >>> from graphfew.nn.pair_mlp import PairMLP
        >>> net = PairMLP(*blocks([8, 16], bias=False), torch.nn.Linear(16, 1))
        >>> net(torch.rand(10, 8)).shape
        torch.Size([10, 1])
    """

    # Class attributes that context managers override on instances; no state dict has them.
    recompute = False
    kernel: PairKernel | None = None

    def forward(self, rows: Float[Tensor, "P F"]) -> Float[Tensor, "P 1"]:
        """Map pair features `[P, F]` to `[P, 1]`."""
        for module in self:
            if isinstance(module, nn.Linear):
                rows = linear(rows, module.weight, module.bias)
                continue
            rows = module(rows)
        return rows


def activation_checkpointing(model: nn.Module) -> AbstractContextManager[None]:
    """Recompute the activations of pairwise MLPs in the backward pass, inside a `with` block.

    Training needs less memory and more time; losses, gradients and running statistics do not
    change.

    Args:
        model: any module; models without a pairwise MLP are unchanged.

    Returns:
        A context manager.

    Example:
        >>> import graphfew as gf
        >>> model = gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=8)
        >>> with gf.nn.activation_checkpointing(model):
        ...     model.layers.get_submodule("0").edge_net.recompute
        True
    """
    nets = (module for module in model.modules() if isinstance(module, PairMLP))
    return patched_attributes(nets, "recompute", True)


def is_frozen(net: nn.Module) -> bool:
    """Whether each row's value depends on that row only: no dropout, no batch statistics."""
    return not any(
        module.training
        for module in net.modules()
        if isinstance(module, nn.BatchNorm2d | nn.Dropout)
    )


def query_edges_are_few(graph: Graph, net: nn.Module) -> bool:
    """Whether a frozen MLP saves time on the edges into queries only: fewer than half of all."""
    sizes = graph.episode.sizes
    into_queries = sum(n * q for n, q in zip(sizes, graph.episode.n_queries, strict=True))
    return is_frozen(net) and 2 * into_queries < sum(n * n for n in sizes)


def pair_edges(
    topology: Topology,
    net: PairMLP,
    x: Float[Tensor, "N F"],
    *,
    self_loop_value: float,
    origin: Tensor | None = None,
) -> Float[Tensor, "E 1"]:
    """Compute `net(|x_i - x_j|)` for all edges of a complete topology.

    `|x_i - x_j|` is symmetric, so the MLP runs once per unordered pair of distinct nodes and its
    value is written to both edges: half of the computation.

    Args:
        topology: a complete topology.
        net: the MLP.
        x: nodes `[N, F]`.
        self_loop_value: the value of self-loops.
        origin: `[N]` int64; nodes with the same number have the same features, so that pairs of
            the same two numbers are computed once. None if all nodes may differ.

    Returns:
        `[E, 1]`.
    """
    if net.kernel is not None:
        values = net.kernel(net, x, *topology.pair_nodes())
        return topology.pairs_to_edges(values, self_loop_value=self_loop_value)
    # A compiler fuses what chunks and folding are for.
    if torch.compiler.is_compiling() or not is_frozen(net):
        values = _all_pairs(topology, net, x)
        return topology.pairs_to_edges(values, self_loop_value=self_loop_value)
    return topology.apply_pairs(
        fold(net),
        x,
        self_loop_value=self_loop_value,
        chunk_size=pairs_per_chunk(net, x),
        origin=origin,
    )


def query_pair_edges(
    topology: Topology, net: PairMLP, x: Float[Tensor, "N F"], *, self_loop_value: float
) -> Float[Tensor, "E 1"]:
    """Compute `net(|x_i - x_j|)` for each edge of any topology, such as the edges into queries.

    Args:
        topology: any topology.
        net: a frozen MLP.
        x: nodes `[N, F]`.
        self_loop_value: the value of self-loops.

    Returns:
        `[E, 1]`.
    """
    if net.kernel is not None:
        values = net.kernel(net, x, topology.receivers, topology.senders)
    else:
        values = topology.apply_edges(fold(net), x, chunk_size=pairs_per_chunk(net, x))
    return values.masked_fill(topology.is_self_loop[:, None], self_loop_value)


def _all_pairs(topology: Topology, net: PairMLP, x: Tensor) -> Tensor:
    """The values of all unordered pairs in one pass, as batch statistics need them."""

    def run(nodes: Tensor) -> Tensor:
        values: Tensor = net(topology.pair_differences(nodes))
        return values

    if not (net.recompute and torch.is_grad_enabled()):
        return run(x)
    # Activation checkpointing: autograd stores `x` only. The backward pass calls `run` a second
    # time, in which batch norm must not update its running statistics again.
    values: Tensor = checkpoint(
        run, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _fixed_statistics(net))
    )
    return values


@contextmanager
def _fixed_statistics(net: nn.Module) -> Iterator[None]:
    """Use batch statistics inside the block without changing the running ones."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    saved = []
    for norm in norms:
        count = norm.num_batches_tracked
        saved.append((norm.momentum, None if count is None else count.clone()))
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, (momentum, count) in zip(norms, saved, strict=True):
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)


def fold(net: nn.Sequential) -> EdgeFunction:
    # Momentum 0 keeps the running statistics; the counter still advances and is reset below.
    """Return a function that computes a frozen pairwise MLP, with batch norm folded in.

    Folding happens once here, so that chunks of pairs share it.

    Args:
        net: a frozen MLP.

    Returns:
        `([..., F], [..., F]) -> [P, 1]` for ends that broadcast to P pairs, in the precision of
        autocast.
    """
    steps = fold_batch_norms(net)
    dtype, device = steps[-1][0].dtype, steps[-1][0].device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
    # The buffered path multiplies with MKL; where oneDNN is faster, the plain path uses it.
    uses_onednn = dtype == torch.float32 and prefers_convolution()
    # Buffers are overwritten by the next chunk, so autograd must not need their content.
    if device == "cpu" and low == dtype and not uses_onednn and not torch.is_grad_enabled():
        return buffered_pair_mlp(steps)
    return plain_pair_mlp(steps, low)


def plain_pair_mlp(steps: Sequence[LinearStep], low: torch.dtype) -> EdgeFunction:
    """Return a function that applies linear layers to `|a - b|`, in the precision `low`.

    This is the reference for the CPU and GPU kernels.

    Args:
        steps: weight `[out, in]`, bias `[out]` and slope (None for no activation) of each layer.
        low: the dtype of the products.

    Returns:
        `([..., F], [..., F]) -> [P, 1]` for ends that broadcast to P pairs, in the dtype of the
        weights.
    """
    dtype, device = steps[-1][0].dtype, steps[-1][0].device.type
    # Cast once instead of in every chunk.
    steps = [(weight.to(low), bias.to(low), slope) for weight, bias, slope in steps]

    def apply(a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(device, enabled=False):
            values = (a - b).abs_().to(low).flatten(0, -2)
            for weight, bias, slope in steps:
                values = linear(values, weight, bias)
                if slope is not None:
                    values = F.leaky_relu(values, slope, inplace=True)
            return values.to(dtype)

    return apply


def fold_batch_norms(net: nn.Sequential) -> list[LinearStep]:
    """Return weight, bias and slope of each linear layer, with the batch norm after it folded in.

    Args:
        net: a frozen MLP of `Linear`, `RowNorm` and `Dropout`.

    Returns:
        `(weight [out, in], bias [out], slope)` per linear layer; the slope is None without an
        activation.
    """
    steps: list[LinearStep] = []
    for module in net:
        if isinstance(module, nn.Linear):
            bias: Tensor | None = module.bias
            if bias is None:
                bias = module.weight.new_zeros(module.out_features)
            steps.append((module.weight, bias, None))
        elif isinstance(module, RowNorm):
            weight, bias, _ = steps.pop()
            scale, shift = module.affine()
            steps.append((weight * scale[:, None], bias * scale + shift, module.slope))
    return steps


def pairs_per_chunk(net: nn.Sequential, x: Tensor) -> int:
    """The number of pairs per chunk for which a layer's input and output fit the cache.

    Args:
        net: the MLP.
        x: nodes, for their dtype and device.
    """
    widths = [m.in_features + m.out_features for m in net if isinstance(m, nn.Linear)]
    pair_bytes = x.element_size() * max(widths)
    chunk_bytes = cache_chunk_bytes() if x.device.type == "cpu" else GPU_CHUNK_BYTES
    return max(MIN_CHUNK, chunk_bytes // pair_bytes)
