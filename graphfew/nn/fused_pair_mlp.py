"""Pairwise MLPs as one fused GPU kernel, in training and evaluation: no pair feature is stored."""

from __future__ import annotations

import importlib.util
import os
from contextlib import AbstractContextManager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graphfew._utils.patching import patched_attributes
from graphfew.errors import InvalidInputError, MissingDependencyError
from graphfew.nn._pair_kernel import MAX_LAYERS, KernelConfig, PairKernel
from graphfew.nn.layers import RowNorm
from graphfew.nn.pair_mlp import PairMLP, fold_batch_norms
from graphfew.ops.cpu_pair_mlp import LinearStep


def fused_kernels(model: nn.Module) -> AbstractContextManager[None]:
    """Run EGNN's and GNN's pairwise MLPs as one Triton kernel each, inside a `with` block.

    The values equal those of the plain path up to rounding, forward and backward, in the
    precision of autocast. Training recomputes the activations for the statistics of each batch
    norm and for the gradients, and stores none. The plain path is used for nodes that are not
    float32, active dropout, batch norm synchronized over processes, and under torch's
    deterministic algorithms (the nodes' gradients are summed in no fixed order).

    Args:
        model: a model with pairwise MLPs of 1 to 4 hidden layers.

    Returns:
        A context manager.

    Raises:
        MissingDependencyError: Triton is not installed.
        InvalidInputError: the model has no such MLP; or, in the forward pass, its nodes are not
            on a GPU. With `TRITON_INTERPRET=1` in the environment they may be on the CPU.

    Example:
        >>> import graphfew as gf
        >>> model = gf.create("egnn", encoder=gf.backbones.conv4())
        >>> with gf.nn.fused_kernels(model.cuda()):  # doctest: +SKIP
        ...     out = model(episode)
    """
    if importlib.util.find_spec("triton") is None:
        raise MissingDependencyError(
            "fused_kernels needs Triton, which PyTorch's builds for GPUs include; otherwise run "
            "pip install triton"
        )
    nets = [module for module in model.modules() if isinstance(module, PairMLP)]
    if not nets or not all(_is_supported(net) for net in nets):
        found = "others" if nets else "none"
        raise InvalidInputError(
            f"fused_kernels needs pairwise MLPs of 1 to {MAX_LAYERS} hidden layers, each with "
            f"batch norm and the same slope, and a single output; {type(model).__name__} has "
            f"{found}: use EGNN or GNN, or omit fused_kernels"
        )
    return patched_attributes(nets, "kernel", fused_pair_values)


def fused_pair_values(
    net: PairMLP, x: Float[Tensor, "N F"], first: Int[Tensor, " P"], second: Int[Tensor, " P"]
) -> Float[Tensor, "P 1"]:
    """Compute `net(|x_first - x_second|)`, fused if possible; see `fused_kernels`.

    Args:
        net: the MLP.
        x: nodes `[N, F]`.
        first: `[P]` int64, a node of each pair.
        second: `[P]` int64, the other one.

    Returns:
        `[P, 1]`.

    Raises:
        InvalidInputError: the nodes are on the CPU, outside Triton's interpreter.
    """
    # A grid of zero blocks cannot be launched.
    if not len(first) or _needs_plain_path(net, x):
        values: Tensor = net((x[first] - x[second]).abs())
        return values
    if x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise InvalidInputError(
            "fused_kernels runs on a GPU, and the nodes are on the CPU; move the model to a GPU, "
            "or omit fused_kernels"
        )
    is_training = net.training
    steps = _fold_batch_statistics(net, x, first, second) if is_training else fold_batch_norms(net)
    # The output layer has a single row of weights, which the kernel applies as `tail`.
    *hidden, (tail, tail_bias, _) = steps
    config = KernelConfig.create(hidden[0][2], returns_values=True, device=x.device)
    pair_values = PairKernel.apply(config, x, first, second, tail[0], *_tensors(hidden))  # type: ignore[no-untyped-call]
    rows: Tensor = (pair_values + tail_bias)[:, None]
    return rows


def _needs_plain_path(net: PairMLP, x: Tensor) -> bool:
    norms = [module.norm for module in net if isinstance(module, RowNorm)]
    has_dropout = any(m.training and m.p > 0 for m in net.modules() if isinstance(m, nn.Dropout))
    # A subclass, such as one that synchronizes statistics over processes, has other values.
    has_other_norm = any(type(norm) is not nn.BatchNorm2d for norm in norms)
    is_deterministic = torch.are_deterministic_algorithms_enabled() and torch.is_grad_enabled()
    return x.dtype != torch.float32 or has_dropout or has_other_norm or is_deterministic


def _tensors(steps: list[LinearStep]) -> list[Tensor]:
    """Weight and bias of each layer, one after the other."""
    return [tensor for weight, bias, _ in steps for tensor in (weight, bias)]


def _fold_batch_statistics(
    net: PairMLP, x: Tensor, first: Tensor, second: Tensor
) -> list[LinearStep]:
    """The linear layers with batch norm folded in, by the statistics of this batch.

    The statistics of a layer need the layers before it, so the kernel runs once per layer, each
    time from the nodes. Updates the running statistics.
    """
    linears = [module for module in net if isinstance(module, nn.Linear)]
    norms = [module for module in net if isinstance(module, RowNorm)]
    steps: list[LinearStep] = []
    # Layer by layer: the statistics of one depend on the folded layers before it. There is one
    # more linear layer than norms, the output.
    for linear, row_norm in zip(linears, norms, strict=False):
        norm = row_norm.norm
        # No bias in the kernel: the variance does not depend on it, and the mean gets it below.
        zeros = linear.weight.new_zeros(linear.out_features)
        config = KernelConfig.create(row_norm.slope, returns_values=False, device=x.device)
        mean_without_bias, variance = PairKernel.apply(  # type: ignore[no-untyped-call]
            config, x, first, second, None, *_tensors(steps), linear.weight, zeros
        )
        scale = norm.weight * (variance + norm.eps).rsqrt()
        bias = zeros if linear.bias is None else linear.bias
        mean = mean_without_bias + bias
        shift = norm.bias + (bias - mean) * scale
        steps.append((linear.weight * scale[:, None], shift, row_norm.slope))
        _update_running_statistics(norm, mean, variance, len(first))
    output = linears[-1]
    output_bias = x.new_zeros(1) if output.bias is None else output.bias
    return [*steps, (output.weight, output_bias, None)]


@torch.no_grad()
def _update_running_statistics(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, n_rows: int
) -> None:
    """Update the running statistics as torch's batch norm does in training mode."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    if n_rows < 2:
        raise InvalidInputError(
            "a batch with a single pair has no variance; train on tasks with more than two nodes"
        )
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum
    if momentum is None:  # torch's cumulative average
        momentum = 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, momentum)
    # Running variances are unbiased, those of the batch are not.
    norm.running_var.lerp_(variance * n_rows / (n_rows - 1), momentum)


def _is_supported(net: PairMLP) -> bool:
    """Whether the MLP is 1 to 4 times (linear, batch norm), then a linear layer to one output."""
    *hidden, output = [module for module in net if not isinstance(module, nn.Dropout)]
    linears, norms = hidden[::2], hidden[1::2]
    if not isinstance(output, nn.Linear) or output.out_features != 1:
        return False
    if len(linears) != len(norms) or not 1 <= len(linears) <= MAX_LAYERS:
        return False
    if not all(isinstance(module, nn.Linear) for module in linears):
        return False
    slopes = {module.slope if isinstance(module, RowNorm) else None for module in norms}
    return len(slopes) == 1 and None not in slopes
