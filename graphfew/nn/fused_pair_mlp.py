"""Networks of pairs in one kernel of a GPU: no row of a pair is ever written to memory, in answers and in training."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphfew._utils.patching import patched_attributes
from graphfew.nn.layers import RowNorm
from graphfew.nn.pair_mlp import PairMLP, fold_batch_norms

# Columns of a part, and what compiled without a GPU (tests/compiled_kernels.py) keeps rows in registers and weights in
# the shared memory of Ampere's and Hopper's large chips; no GPU has measured them yet.
DEEPEST, PART, WARPS, STAGES = 4, 32, 8, 2
PAIRS = {torch.float32: 32, torch.bfloat16: 64, torch.float16: 64}
PAIRS_BACK = 32


def fused_kernels(model: nn.Module) -> AbstractContextManager[None]:
    """Inside the block EGNN's and GNN's networks of pairs run as one Triton kernel each, on a GPU.

    The same numbers to rounding, forward and backward, in training and in evaluation, in the precision of autocast:
    training works rows out again for each batch norm's statistics and for gradients, and keeps none. Nodes that are
    not float32, dropout that draws, several processes' joint statistics, and torch's deterministic algorithms (the
    nodes' gradients are summed in no fixed order) take the plain way.

    Raises:
        ImportError: Triton is not installed.
        ValueError: the model has no network of pairs of at most four hidden maps; or, when it runs, nodes that are not
            on a GPU (with `TRITON_INTERPRET=1` set beforehand they may be on the CPU, for tests).
    """
    if importlib.util.find_spec("triton") is None:
        raise ImportError(
            "fusing needs Triton, which PyTorch's builds for GPUs bring along; else: pip install triton"
        )
    nets = [m for m in model.modules() if isinstance(m, PairMLP)]
    if not nets or not all(map(_fits, nets)):
        raise ValueError(
            f"fusing takes models with networks of pairs of 1 to {DEEPEST} maps, each with batch norm and "
            f"one slope, and a last one to a single number; {type(model).__name__} has "
            f"{'others' if nets else 'none'}: use EGNN or GNN, or leave fusing out"
        )
    return patched_attributes(nets, "kernel", values)


def values(
    net: PairMLP, x: Float[Tensor, "N F"], one: Int[Tensor, " P"], other: Int[Tensor, " P"]
) -> Float[Tensor, "P 1"]:
    """`net(|x_one - x_other|)`, fused where it can be; see `fusing`."""
    norms = [m.norm for m in net if isinstance(m, RowNorm)]
    if (
        not len(one)
        or x.dtype != torch.float32
        or _draws(net)
        or any(type(n) is not nn.BatchNorm2d for n in norms)
        or (torch.are_deterministic_algorithms_enabled() and torch.is_grad_enabled())
    ):
        plain: Tensor = net((x[one] - x[other]).abs())
        return plain
    if x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            "fusing runs on a GPU, and the nodes are on the CPU; move the model there, or leave it out"
        )
    maps = _learning(net, x, one, other) if net.training else fold_batch_norms(net)
    *hidden, (tail, last, _) = maps
    given = [t for weight, bias, _ in hidden for t in (weight, bias)]
    answers = _Chain.apply(_form(hidden[0][2], True, x.device), x, one, other, tail[0], *given)  # type: ignore[no-untyped-call]
    rows: Tensor = (answers + last)[:, None]
    return rows


def _learning(
    net: PairMLP, x: Tensor, one: Tensor, other: Tensor
) -> list[tuple[Tensor, Tensor, float | None]]:
    """The maps with this batch's statistics folded in: those of one map after another, each from the nodes on."""
    linear, norms = (
        [m for m in net if isinstance(m, nn.Linear)],
        [m for m in net if isinstance(m, RowNorm)],
    )
    done: list[tuple[Tensor, Tensor, float | None]] = []
    for this, norm in zip(linear, norms, strict=False):
        given = [t for weight, bias, _ in done for t in (weight, bias)]
        none = this.weight.new_zeros(this.out_features)
        mean, variance = _Chain.apply(  # type: ignore[no-untyped-call]
            _form(norm.slope, False, x.device), x, one, other, None, *given, this.weight, none
        )
        scale = norm.norm.weight * (variance + norm.norm.eps).rsqrt()
        own = none if this.bias is None else this.bias
        moved = mean + own
        done.append(
            (this.weight * scale[:, None], norm.norm.bias + (own - moved) * scale, norm.slope)
        )
        _follow(norm.norm, moved, variance, len(one))
    missing = x.new_zeros(1)
    return [
        *done,
        (linear[-1].weight, missing if linear[-1].bias is None else linear[-1].bias, None),
    ]


@torch.no_grad()
def _follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, rows: int) -> None:
    """Running statistics as torch's batch norm has them."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    if rows < 2:
        raise ValueError(
            "a batch of a single pair has no statistics; train on tasks of more than two nodes"
        )
    norm.num_batches_tracked.add_(1)
    share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance * rows / (rows - 1), share)


def _fits(net: PairMLP) -> bool:
    rest = [m for m in net if not isinstance(m, nn.Dropout)]
    *hidden, last = rest
    slopes = {m.slope for m in hidden[1::2] if isinstance(m, RowNorm)}
    return (
        isinstance(last, nn.Linear)
        and last.out_features == 1
        and 2 <= len(hidden) <= 2 * DEEPEST
        and len(hidden) % 2 == 0
        and len(slopes) == 1
        and None not in slopes
        and all(isinstance(m, nn.Linear) for m in hidden[::2])
        and all(isinstance(m, RowNorm) for m in hidden[1::2])
    )


def _draws(net: nn.Module) -> bool:
    return any(m.training and m.p > 0 for m in net.modules() if isinstance(m, nn.Dropout))


@dataclasses.dataclass(frozen=True)
class Form:
    """How maps are run: their slope, whether answers or moments are wanted, and the type that products take."""

    slope: float
    answer: bool
    kind: torch.dtype


def _form(slope: float | None, answer: bool, device: torch.device) -> Form:
    assert slope is not None
    low = (
        torch.get_autocast_dtype(device.type)
        if torch.is_autocast_enabled(device.type)
        else torch.float32
    )
    return Form(slope, answer, low)


class _Chain(torch.autograd.Function):
    """Answers `[P]`, or mean and variance `[W]` of the last map's output over all pairs.

    The gradient of the statistics goes through the maps before it: a network that learns is a chain of these, which
    autograd joins.
    """

    @staticmethod
    def forward(
        ctx: Any,
        form: Form,
        x: Tensor,
        one: Tensor,
        other: Tensor,
        tail: Tensor | None,
        *maps: Tensor,
    ) -> Any:
        from graphfew.ops import triton_pair_mlp

        laid = _LaidOut.of(form, x, tail, maps)
        each = PAIRS[form.kind]
        blocks = -(-len(one) // each)
        out = x.new_empty(
            (len(one),) if form.answer else (blocks, 2, laid.widths[-1]), dtype=torch.float32
        )
        with torch.autocast(x.device.type, enabled=False):
            triton_pair_mlp.forward[(blocks,)](
                *laid.given(one, other), out, len(one), **laid.shape(each)
            )
        ctx.form = form
        if form.answer:
            ctx.save_for_backward(x, one, other, tail, *maps)
            return out
        mean, variance = _joined(out[..., : len(maps[-1])].double(), len(one), each)
        ctx.save_for_backward(x, one, other, mean, *maps)
        return mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        from graphfew.ops import triton_pair_mlp

        x, one, other, held, *maps = ctx.saved_tensors
        form, tail = ctx.form, held if ctx.form.answer else None
        laid = _LaidOut.of(form, x, tail, maps)
        above = (
            grads[0].float().contiguous()
            if form.answer
            else _linear(held, grads[0], grads[1], len(one), laid.widths[-1])
        )
        programs = min(-(-len(one) // PAIRS_BACK), _processors(x.device))
        d_x = torch.zeros_like(laid.x)
        room = sum(part.numel() for part in laid.parts)
        added = d_x.new_zeros(programs, room)
        lengths = [part.numel() for part in laid.parts]
        own = torch.split(added[0], lengths)
        places = [own[n] for n in laid.places]
        triton_pair_mlp.backward[(programs,)](
            *laid.given(one, other), above, d_x, *places, len(one), room, **laid.shape(PAIRS_BACK)
        )
        totals = torch.split(added.sum(0), lengths)
        sums = [total.view(part.shape) for total, part in zip(totals, laid.parts, strict=True)]
        d_maps = [_cut(s, like) for s, like in zip(sums, maps, strict=False)]
        d_tail = sums[-1][: len(tail)] if tail is not None else None
        return None, d_x[:, : x.shape[1]], None, None, d_tail, *d_maps


def _cut(total: Tensor, like: Tensor) -> Tensor:
    """The gradient of a weight `[out, in]` or a bias from its padded, transposed form."""
    return total[: len(like)] if like.ndim == 1 else total[: like.shape[1], : like.shape[0]].t()


def _joined(blocks: Tensor, pairs: int, each: int) -> tuple[Tensor, Tensor]:
    """Mean and variance over all pairs, float32, from each block's mean and squares around it, `[blocks, 2, W]`."""
    count = blocks.new_full((len(blocks), 1), float(each))
    count[-1] = pairs - each * (len(blocks) - 1)
    mean = (count * blocks[:, 0]).sum(0) / pairs
    around = blocks[:, 1].sum(0) + (count * (blocks[:, 0] - mean).square()).sum(0)
    return mean.float(), (around / pairs).float()


def _linear(mean: Tensor, d_mean: Tensor, d_variance: Tensor, pairs: int, width: int) -> Tensor:
    """`a` and `c` `[2, width]` of the gradient `a + c z` that mean and variance hand to each row `z`."""
    out = mean.new_zeros(2, width)
    out[1, : len(mean)] = 2 * d_variance / pairs
    out[0, : len(mean)] = d_mean / pairs - mean * out[1, : len(mean)]
    return out


def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 3
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@dataclasses.dataclass(frozen=True, eq=False)
class _LaidOut:
    """Nodes and maps as the kernels take them: weights `[in, out]`, padded with zeros, none where there is no map."""

    form: Form
    x: Tensor
    parts: tuple[Tensor, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, form: Form, x: Tensor, tail: Tensor | None, maps: Sequence[Tensor]) -> _LaidOut:
        entry = _multiple(x.shape[1])
        widths = [(_multiple if n % 2 else _power)(len(maps[2 * n])) for n in range(len(maps) // 2)]
        parts = []
        for n, (before, after) in enumerate(zip([entry, *widths], widths, strict=False)):
            parts += [
                _padded(maps[2 * n].t(), before, after).to(form.kind),
                _padded(maps[2 * n + 1], after),
            ]
        if tail is not None:
            parts.append(_padded(tail, widths[-1]))
        return cls(form, _padded(x, len(x), entry), tuple(parts), tuple(widths))

    @property
    def depth(self) -> int:
        """Maps."""
        return len(self.widths)

    @property
    def places(self) -> list[int]:
        """For each of the kernels' nine arrays the part that it is; those without a map get the first."""
        maps = [n if n < 2 * self.depth else 0 for n in range(2 * DEEPEST)]
        return [*maps, len(self.parts) - 1 if self.form.answer else 0]

    def given(self, one: Tensor, other: Tensor) -> list[Tensor]:
        """The kernels' first arguments."""
        return [self.x, one, other, *(self.parts[n] for n in self.places)]

    def shape(self, pairs: int) -> dict[str, Any]:
        """What the kernels are compiled for, with so many pairs in a block."""
        from triton import language as tl

        kinds = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
        wide = [*self.widths, *[PART] * (DEEPEST - self.depth)]
        exact = torch.get_float32_matmul_precision() == "highest"
        return {
            "IN": self.x.shape[1],
            **{f"W{n + 1}": width for n, width in enumerate(wide)},
            "DEPTH": self.depth,
            "ANSWER": self.form.answer,
            "SLOPE": self.form.slope,
            "PAIRS": pairs,
            "PART": PART,
            "KIND": kinds[self.form.kind],
            "PRECISION": "ieee" if exact else "tf32",
            "num_warps": WARPS,
            "num_stages": STAGES,
        }


def _multiple(width: int) -> int:
    return -(-width // PART) * PART


def _power(width: int) -> int:
    return max(16, 1 << (width - 1).bit_length())


def _padded(values: Tensor, *shape: int) -> Tensor:
    """The values in the first rows and columns of float32 zeros of that shape."""
    out = values.new_zeros(shape, dtype=torch.float32)
    out[tuple(slice(n) for n in values.shape)] = values
    return out
