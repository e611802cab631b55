"""Autograd function of the Triton kernels of the pairwise MLP, and its argument layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# The kernels take up to four hidden layers and step through a layer's columns 32 at a time.
MAX_LAYERS = 4
COLUMN_BLOCK = 32
# With these sizes the activations of a block fit the registers, and the weights the shared memory
# of A100 and H100 (checked by compiling, see tests/compiled_kernels.py; not tuned by timing).
NUM_WARPS = 8
NUM_STAGES = 2
PAIRS_PER_BLOCK = {torch.float32: 32, torch.bfloat16: 64, torch.float16: 64}
BACKWARD_PAIRS_PER_BLOCK = 32
# Programs of the backward kernel in Triton's interpreter: several, so that tests sum over them.
INTERPRETER_PROGRAMS = 3


@dataclasses.dataclass(frozen=True)
class KernelConfig:
    """What the kernels compute.

    Attributes:
        slope: negative slope of the leaky ReLU after every hidden layer.
        returns_values: whether the result are the values of pairs; otherwise the mean and variance
            of the last layer's outputs, before its activation.
        dtype: the dtype of the products.
    """

    slope: float
    returns_values: bool
    dtype: torch.dtype

    @classmethod
    def create(
        cls, slope: float | None, *, returns_values: bool, device: torch.device
    ) -> KernelConfig:
        """A configuration with the precision of autocast."""
        assert slope is not None
        dtype = torch.float32
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        return cls(slope, returns_values, dtype)


class PairKernel(torch.autograd.Function):
    """Values `[P]` of pairs, or mean and variance `[W]` of the last layer's output over all pairs.

    Inputs after the first five are weight `[out, in]` and bias `[out]` of each hidden layer, batch
    norm folded in. `tail` is the weight `[W]` of the final linear layer; None for statistics.

    No activation is stored: the backward kernel recomputes them. The gradient of the statistics
    passes through the layers before them, so a network in training is a chain of such functions,
    which autograd connects.
    """

    @staticmethod
    def forward(
        ctx: Any,
        config: KernelConfig,
        x: Tensor,
        first: Tensor,
        second: Tensor,
        tail: Tensor | None,
        *layers: Tensor,
    ) -> Any:
        from graphfew.ops import triton_pair_mlp

        arguments = KernelArguments.create(config, x, tail, layers)
        pairs_per_block = PAIRS_PER_BLOCK[config.dtype]
        n_pairs = len(first)
        n_blocks = -(-n_pairs // pairs_per_block)
        # Moments are `[B, 2, W]`: each block writes its own, and their sum has a fixed order.
        shape = (n_pairs,) if config.returns_values else (n_blocks, 2, arguments.widths[-1])
        out = x.new_empty(shape, dtype=torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            triton_pair_mlp.forward[(n_blocks,)](
                *arguments.tensors(first, second),
                out,
                n_pairs,
                **arguments.constants(pairs_per_block),
            )
        ctx.config = config
        if config.returns_values:
            ctx.save_for_backward(x, first, second, tail, *layers)
            return out
        # The padding of the last layer's width is cut off before the blocks are combined.
        moments = out[..., : len(layers[-1])].double()
        mean, variance = _combine_moments(moments, n_pairs, pairs_per_block)
        ctx.save_for_backward(x, first, second, mean, *layers)
        return mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        from graphfew.ops import triton_pair_mlp

        config = ctx.config
        # One slot for both kinds: the tail of values, or the mean of moments.
        x, first, second, tail_or_mean, *layers = ctx.saved_tensors
        tail = tail_or_mean if config.returns_values else None
        arguments = KernelArguments.create(config, x, tail, layers)
        n_pairs = len(first)
        if config.returns_values:
            grad = grads[0].float().contiguous()
        else:
            width = arguments.widths[-1]
            grad = _moment_gradient(tail_or_mean, grads[0], grads[1], n_pairs, width)
        n_blocks = -(-n_pairs // BACKWARD_PAIRS_PER_BLOCK)
        # Each program holds a copy of the weight gradients: no more programs than processors.
        n_programs = min(n_blocks, _max_programs(x.device))
        # Nodes are shared by many pairs: the kernel adds to them atomically, in no fixed order.
        d_x = torch.zeros_like(arguments.x)
        # Every program adds to its own row, so that weight gradients need no atomic
        # operations; the rows are summed afterwards.
        lengths = [part.numel() for part in arguments.parts]
        d_parts = d_x.new_zeros(n_programs, sum(lengths))
        # The kernel gets the addresses in the first row, and the row length to step to its own.
        d_first_row = torch.split(d_parts[0], lengths)
        triton_pair_mlp.backward[(n_programs,)](
            *arguments.tensors(first, second),
            grad,
            d_x,
            *(d_first_row[index] for index in arguments.part_indices),
            n_pairs,
            sum(lengths),
            **arguments.constants(BACKWARD_PAIRS_PER_BLOCK),
        )
        totals = [
            total.view(part.shape)
            for total, part in zip(
                torch.split(d_parts.sum(0), lengths), arguments.parts, strict=True
            )
        ]
        d_layers = [_unpad(total, like) for total, like in zip(totals, layers, strict=False)]
        d_tail = None if tail is None else totals[-1][: len(tail)]
        return None, d_x[:, : x.shape[1]], None, None, d_tail, *d_layers


@dataclasses.dataclass(frozen=True, eq=False)
class KernelArguments:
    """Nodes and layers in the kernels' layout.

    Attributes:
        config: what is computed.
        x: nodes `[N, IN]`, padded with zero columns to a multiple of `COLUMN_BLOCK`.
        parts: weight `[in, out]` and bias `[out]` of each layer, then the tail if there is one,
            padded with zeros.
        widths: the padded width of each layer.
    """

    config: KernelConfig
    x: Tensor
    parts: tuple[Tensor, ...]
    widths: tuple[int, ...]

    @classmethod
    def create(
        cls, config: KernelConfig, x: Tensor, tail: Tensor | None, layers: Sequence[Tensor]
    ) -> KernelArguments:
        """Pad and transpose; `layers` are weight `[out, in]` and bias `[out]` of each layer."""
        weights, biases = layers[::2], layers[1::2]
        in_width = _next_multiple(x.shape[1])
        widths = []
        for index, bias in enumerate(biases):
            # Rows of the first and third layer are held whole, which takes a power of two; those
            # of the second and fourth are computed and used block by block.
            pad = _next_multiple if index % 2 else _next_power_of_two
            widths.append(pad(len(bias)))
        parts = []
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            before = widths[index - 1] if index else in_width
            parts.append(_pad(weight.t(), before, widths[index]).to(config.dtype))
            parts.append(_pad(bias, widths[index]))
        if tail is not None:
            parts.append(_pad(tail, widths[-1]))
        return cls(config, _pad(x, len(x), in_width), tuple(parts), tuple(widths))

    @property
    def part_indices(self) -> list[int]:
        """The index in `parts` of each of the kernels' nine arrays; unused arrays get the first."""
        # An unused array still needs a valid address, although the kernels never read it.
        n_used = 2 * len(self.widths)
        indices = [index if index < n_used else 0 for index in range(2 * MAX_LAYERS)]
        return [*indices, len(self.parts) - 1 if self.config.returns_values else 0]

    def tensors(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """The kernels' first arguments: nodes, pairs, layers and tail."""
        return [self.x, first, second, *(self.parts[index] for index in self.part_indices)]

    def constants(self, pairs_per_block: int) -> dict[str, Any]:
        """The kernels' compile-time arguments."""
        from triton import language as tl

        dtypes = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
        n_unused = MAX_LAYERS - len(self.widths)
        widths = [*self.widths, *[COLUMN_BLOCK] * n_unused]
        # The same switch as for matmul: TF32 only if the caller has allowed it.
        is_exact = torch.get_float32_matmul_precision() == "highest"
        return {
            "IN": self.x.shape[1],
            "W1": widths[0],
            "W2": widths[1],
            "W3": widths[2],
            "W4": widths[3],
            "DEPTH": len(self.widths),
            "OUTPUT": self.config.returns_values,
            "SLOPE": self.config.slope,
            "PAIRS": pairs_per_block,
            "CHUNK": COLUMN_BLOCK,
            "DTYPE": dtypes[self.config.dtype],
            "PRECISION": "ieee" if is_exact else "tf32",
            "num_warps": NUM_WARPS,
            "num_stages": NUM_STAGES,
        }


def _combine_moments(
    blocks: Float[Tensor, "B 2 W"], n_pairs: int, pairs_per_block: int
) -> tuple[Float[Tensor, " W"], Float[Tensor, " W"]]:
    """Mean and variance over all pairs, from each block's mean and sum of squared deviations.

    Chan's parallel formula, which is stable where a difference of squares is not.
    """
    counts = blocks.new_full((len(blocks), 1), float(pairs_per_block))
    # The last block may be filled in part only.
    counts[-1] = n_pairs - pairs_per_block * (len(blocks) - 1)
    mean = (counts * blocks[:, 0]).sum(0) / n_pairs
    within = blocks[:, 1].sum(0)
    between = (counts * (blocks[:, 0] - mean).square()).sum(0)
    return mean.float(), ((within + between) / n_pairs).float()


def _moment_gradient(
    mean: Tensor, d_mean: Tensor, d_variance: Tensor, n_pairs: int, width: int
) -> Float[Tensor, "2 W"]:
    """Gradient of mean and variance with respect to a row z, as `a + c z`: a, c `[2, width]`."""
    out = mean.new_zeros(2, width)
    out[1, : len(mean)] = 2 * d_variance / n_pairs
    out[0, : len(mean)] = d_mean / n_pairs - mean * out[1, : len(mean)]
    return out


def _unpad(total: Tensor, like: Tensor) -> Tensor:
    """The gradient of a weight `[out, in]` or bias `[out]` from that of its padded layout."""
    if like.ndim == 1:
        return total[: len(like)]
    return total[: like.shape[1], : like.shape[0]].t()


def _max_programs(device: torch.device) -> int:
    if device.type != "cuda":
        return INTERPRETER_PROGRAMS
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _next_multiple(width: int) -> int:
    return -(-width // COLUMN_BLOCK) * COLUMN_BLOCK


def _next_power_of_two(width: int) -> int:
    return max(16, 1 << (width - 1).bit_length())


def _pad(values: Tensor, *shape: int) -> Tensor:
    """Copy into the first rows and columns of float32 zeros."""
    out = values.new_zeros(shape, dtype=torch.float32)
    out[tuple(slice(n) for n in values.shape)] = values
    return out
