"""Batch normalization with the statistics of the whole batch, over several processes.

`torch.nn.SyncBatchNorm` works on GPUs only and needs `torch.distributed`. This version works on
any device and with any `ProcessGroup`, so that tests on the CPU check the code that GPUs run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from graphfew.training.distributed import ProcessGroup


@contextmanager
def synchronized_batch_norm(model: nn.Module, process_group: ProcessGroup) -> Iterator[None]:
    """Let batch norms in training mode use the statistics of all processes inside the block.

    Weights, buffers and their names do not change. With one process nothing happens.

    Args:
        model: its `BatchNorm1d` and `BatchNorm2d` submodules are replaced temporarily.
        process_group: the processes that share each batch.
    """
    # Collected first: a replacement inside the loop would change what `modules` iterates over.
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    if process_group.size > 1:
        for parent in model.modules():
            for name, child in parent.named_children():
                # Subclasses may normalize in another way, so only these exact types.
                if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
                    replaced.append((parent, name, child))
    for parent, name, child in replaced:
        setattr(parent, name, _synchronized(child, process_group))
    try:
        yield
    finally:
        for parent, name, child in replaced:
            # The replacement has its own `__dict__`: a mode set inside the block is carried back.
            child.training = getattr(parent, name).training
            setattr(parent, name, child)


def _synchronized(norm: nn.Module, process_group: ProcessGroup) -> nn.Module:
    """A synchronized batch norm on the parameters and buffers of `norm`."""
    kind = _SyncBatchNorm2d if isinstance(norm, nn.BatchNorm2d) else _SyncBatchNorm1d
    # Not a copy: parameters, buffers and hooks are the same objects, so optimizers see them.
    module = kind.__new__(kind)
    module.__dict__ = norm.__dict__ | {"process_group": process_group}
    return module


class _SyncBatchNorm:
    """Forward pass of a batch norm over several processes."""

    process_group: ProcessGroup

    def forward(self: Any, x: Tensor) -> Tensor:
        """Normalize `[N, C, ...]` by the mean and variance of all processes' batches."""
        if not self.training:
            return super().forward(x)  # type: ignore[misc,no-any-return]
        reduced_dims = [dim for dim in range(x.ndim) if dim != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        # Autocast passes half precision, which represents neither counts nor large sums exactly.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        n_values = wide.new_tensor(float(x.numel() // x.shape[1]))
        count = self.process_group.sum(n_values)
        mean = self.process_group.sum(wide.sum(reduced_dims)) / count
        centered = wide - mean.view(shape)
        # From centered values: E[x²] - E[x]² would cancel for a large mean.
        variance = self.process_group.sum(centered.square().sum(reduced_dims)) / count
        if self.track_running_stats:
            # PyTorch's running variance is the unbiased one.
            self._update_running_stats(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        shift = torch.zeros_like(mean)
        if self.affine:
            scale = self.weight * scale
            shift = self.bias
        out: Tensor = centered * scale.view(shape) + shift.view(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _update_running_stats(self: Any, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of the batch, as PyTorch's batch norm does."""
        # In place, because the original module shares these buffers.
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


class _SyncBatchNorm1d(_SyncBatchNorm, nn.BatchNorm1d):
    pass


class _SyncBatchNorm2d(_SyncBatchNorm, nn.BatchNorm2d):
    pass
