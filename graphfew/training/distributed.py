"""Data parallelism over several processes: the process group and what each step needs from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, final, runtime_checkable

import torch
from torch import Tensor, nn

from graphfew.errors import InvalidInputError

T = TypeVar("T")


@runtime_checkable
class ProcessGroup(Protocol):
    """Processes that train or evaluate together.

    Every process makes the same calls in the same order.

    Attributes:
        rank: index of this process, from 0.
        size: number of processes.

    Example:
        >>> from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup
        >>> isinstance(SINGLE_PROCESS, ProcessGroup)
        True
        >>> SINGLE_PROCESS.gather("loss")
        ['loss']
    """

    @property
    def rank(self) -> int:
        """Index of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes (all-reduce); gradients are summed too."""
        ...

    def gather(self, value: T) -> list[T]:
        """Collect the value of every process, ordered by rank (all-gather)."""
        ...


@final
class SingleProcess:
    """The process group of a program that runs in one process."""

    rank, size = 0, 1

    def sum(self, value: Tensor) -> Tensor:
        """Return the tensor unchanged."""
        return value

    def gather(self, value: T) -> list[T]:
        """Return the value in a list."""
        return [value]


SINGLE_PROCESS = SingleProcess()


def shard_batch(indices: range, process_group: ProcessGroup) -> range:
    """Select this process's part of a batch; all parts have the same length.

    Args:
        indices: task indices of the whole batch.
        process_group: the processes that share the batch.

    Returns:
        The contiguous part that belongs to `process_group.rank`.

    Raises:
        InvalidInputError: if the batch size is not a multiple of the number of processes.
    """
    n_processes = process_group.size
    if len(indices) % n_processes:
        raise InvalidInputError(
            f"a batch of {len(indices)} cannot be split evenly over {n_processes} processes; "
            f"use a batch size that is a multiple of {n_processes}"
        )
    shard_size = len(indices) // n_processes
    start = process_group.rank * shard_size
    return indices[start : start + shard_size]


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter], process_group: ProcessGroup) -> None:
    """Replace each gradient by its mean over the processes; it stays None if no process has one.

    DistributedDataParallel is not used: its hooks would stay on the caller's parameters between
    steps, and it needs a wrapper in whose `forward` patched modules are no longer found.
    """
    if process_group.size == 1:
        return
    # A flat buffer has one dtype and device: with mixed weights each kind gets its own.
    groups: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for group in groups.values():
        _average_group(group, process_group)


def _average_group(parameters: Sequence[nn.Parameter], process_group: ProcessGroup) -> None:
    """Average the gradients of parameters of one dtype and device, in one all-reduce."""
    gradients = []
    has_gradient = []
    for parameter in parameters:
        gradient = parameter.grad
        # As numbers, because they are summed too: a parameter may be used in some processes only.
        has_gradient.append(0.0 if gradient is None else 1.0)
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        gradients.append(gradient.flatten())
    flat = torch.cat(gradients)
    n_present = process_group.sum(torch.tensor(has_gradient, device=flat.device))
    mean = process_group.sum(flat) / process_group.size
    parts = torch.split(mean, [parameter.numel() for parameter in parameters])
    for parameter, part, n in zip(parameters, parts, n_present.tolist(), strict=True):
        # A view would keep the whole flat buffer alive as long as one gradient exists.
        parameter.grad = part.view_as(parameter).clone() if n else None
