"""Several processes that do one job: what they tell one another, and batch norms with the statistics of them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, final, runtime_checkable

import torch
from torch import Tensor, nn

T = TypeVar("T")


@runtime_checkable
class ProcessGroup(Protocol):
    """The processes of a job; every one of them makes the same calls in the same order.

    Shapes:
        rank: this process, from 0.
        size: how many there are.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def sum(self, value: Tensor) -> Tensor:
        """The sum of every process's tensor, with the gradient that it has for all of them."""
        ...

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        ...


@final
class SingleProcess:
    """One process."""

    rank, size = 0, 1

    def sum(self, value: Tensor) -> Tensor:
        """The tensor itself."""
        return value

    def gather(self, value: T) -> list[T]:
        """The value, in a list."""
        return [value]


SINGLE_PROCESS = SingleProcess()


def rank_range(span: range, workers: ProcessGroup) -> range:
    """This process's part of a batch, parts of one length end to end.

    Raises:
        ValueError: a batch that cannot be divided evenly.
    """
    if len(span) % workers.size:
        raise ValueError(
            f"a batch of {len(span)} cannot be shared by {workers.size} processes; give a batch that is a "
            f"multiple of {workers.size}"
        )
    each = len(span) // workers.size
    return span[workers.rank * each : (workers.rank + 1) * each]


@torch.no_grad()
def average_gradients(weights: list[nn.Parameter], workers: ProcessGroup) -> None:
    """Replace every gradient by its mean over the processes; one that no process has stays None."""
    if workers.size == 1:
        return
    flat = torch.cat(
        [(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights]
    )
    used = workers.sum(
        torch.tensor([float(w.grad is not None) for w in weights], device=flat.device)
    )
    flat = workers.sum(flat) / workers.size
    parts = torch.split(flat, [w.numel() for w in weights])
    for weight, part, users in zip(weights, parts, used.tolist(), strict=True):
        weight.grad = part.view_as(weight).clone() if users else None


@contextmanager
def synchronized_batch_norm(model: nn.Module, workers: ProcessGroup) -> Iterator[None]:
    """Inside the block, batch norms in training mode use the statistics of all processes' batches together.

    Weights, running statistics and their names stay as they are.
    """
    swapped: list[tuple[nn.Module, str, nn.Module]] = []
    if workers.size > 1:
        for parent in model.modules():
            swapped += [
                (parent, name, child)
                for name, child in parent.named_children()
                if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d)
            ]
    for parent, name, child in swapped:
        setattr(parent, name, _joint(child, workers))
    try:
        yield
    finally:
        for parent, name, child in swapped:
            child.training = getattr(parent, name).training
            setattr(parent, name, child)


class _Joint:
    """The forward of a batch norm over several processes."""

    workers: ProcessGroup

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)  # type: ignore[misc,no-any-return]
        over = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        # Half precision, which autocast hands over, holds neither a count of rows nor a sum of them.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = self.workers.sum(wide.new_tensor(float(x.numel() // x.shape[1])))
        mean = self.workers.sum(wide.sum(over)) / count
        centerd = wide - mean.view(shape)
        variance = self.workers.sum(centerd.square().sum(over)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale, shift = (variance + self.eps).rsqrt(), torch.zeros_like(mean)
        if self.affine:
            scale, shift = self.weight * scale, self.bias
        out: Tensor = centerd * scale.view(shape) + shift.view(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _follow(self: Any, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Joint1d(_Joint, nn.BatchNorm1d):
    pass


class _Joint2d(_Joint, nn.BatchNorm2d):
    pass


def _joint(norm: nn.Module, workers: ProcessGroup) -> nn.Module:
    """The same norm, its weights and statistics shared, over all processes."""
    kind = _Joint2d if isinstance(norm, nn.BatchNorm2d) else _Joint1d
    own = kind.__new__(kind)
    own.__dict__ = norm.__dict__ | {"workers": workers}
    return own
