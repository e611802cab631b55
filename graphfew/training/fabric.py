"""Process groups on Lightning Fabric: processes that it starts, or those of `torchrun`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, final

import torch
from torch import Tensor

from graphfew.errors import InvalidInputError, MissingDependencyError, ProcessLostError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


@final
class FabricProcessGroup:
    """The processes of a launched Fabric.

    Args:
        fabric: a Fabric after `fabric.launch()`.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric

    @property
    def rank(self) -> int:
        """Index of this process, from 0."""
        return int(self.fabric.global_rank)

    @property
    def size(self) -> int:
        """Number of processes on all machines."""
        return int(self.fabric.world_size)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.fabric.device

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes. Raises ProcessLostError if one has ended."""
        return _AllReduceSum.apply(value)  # type: ignore[no-untyped-call,no-any-return]

    def gather(self, value: T) -> list[T]:
        """Collect the value of every process. Raises ProcessLostError if one has ended."""
        values: list[T | None] = [None] * self.size
        # Pickles the values: for small Python objects, not for tensors on a GPU.
        with _connection_errors_as_process_lost():
            torch.distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]


class _AllReduceSum(torch.autograd.Function):
    """Sum over processes; every process's loss depends on the sum, so gradients are summed too."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        del ctx
        return _all_reduce(value)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        del ctx
        return _all_reduce(grads[0])


def _all_reduce(value: Tensor) -> Tensor:
    """The sum over processes, as a new tensor."""
    # all_reduce works in place and needs contiguous memory.
    total = value.detach().clone(memory_format=torch.contiguous_format)
    with _connection_errors_as_process_lost():
        torch.distributed.all_reduce(total)
    return total


@contextmanager
def _connection_errors_as_process_lost() -> Iterator[None]:
    """Gloo and NCCL report a closed connection or a timeout as a plain RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError("another process of this job has ended or is unreachable") from error


def launch(processes: int, device: str = "cpu", nodes: int = 1) -> FabricProcessGroup:
    """Start the other processes of a job, or join those that `torchrun` has started.

    Each process runs this program's command line again and reaches this call.

    Args:
        processes: number of processes on this machine; on `cuda`, one per GPU.
        device: `"cpu"` or `"cuda"`.
        nodes: number of machines, each with `processes` processes.

    Returns:
        The process group, for `train(process_group=...)` and `evaluate`; move the model to its
        `device` first.

    Raises:
        MissingDependencyError: if Lightning Fabric is not installed.
        InvalidInputError: if the job has fewer than two processes, or the device is not supported.

    Example:
        >>> import graphfew as gf
        >>> process_group = gf.training.launch(2)  # doctest: +SKIP
        >>> process_group.size  # doctest: +SKIP
        2
    """
    if device not in ("cpu", "cuda"):
        raise InvalidInputError(
            f"unsupported device {device!r} for several processes; use cpu or cuda"
        )
    if processes * nodes < 2:
        raise InvalidInputError(
            f"launch() needs at least 2 processes, got {processes} on {nodes} machine(s); "
            "omit it for single-process training"
        )
    try:
        # An optional dependency, and slow to import.
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "training in several processes needs Lightning Fabric; install graphfew[distributed]"
        ) from error
    # The strategy only sets up the process group; no module is wrapped in DDP.
    fabric = Fabric(accelerator=device, devices=processes, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    return FabricProcessGroup(fabric)
