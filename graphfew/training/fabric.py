"""Workers on Lightning Fabric: processes on this machine, or those that `torchrun` started, on CPUs or GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, final

import torch
from torch import Tensor

from graphfew.errors import ProcessLostError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


@final
class FabricWorkers:
    """The processes of a launched Fabric."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric

    @property
    def rank(self) -> int:
        """This process, from 0."""
        return int(self.fabric.global_rank)

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.fabric.world_size)

    @property
    def device(self) -> torch.device:
        """Where this process works."""
        return self.fabric.device

    def sum(self, value: Tensor) -> Tensor:
        """As `Workers.sum`. Raises WorkerLost where another process has ended."""
        return _Sum.apply(value)  # type: ignore[no-untyped-call,no-any-return]

    def gather(self, value: T) -> list[T]:
        """As `Workers.gather`. Raises WorkerLost where another process has ended."""
        found: list[T | None] = [None] * self.size
        with _heard():
            torch.distributed.all_gather_object(found, value)
        return found  # type: ignore[return-value]


class _Sum(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        del ctx
        return _summed(value)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        del ctx
        return _summed(grads[0])


def _summed(value: Tensor) -> Tensor:
    total = value.detach().clone(memory_format=torch.contiguous_format)
    with _heard():
        torch.distributed.all_reduce(total)
    return total


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo and NCCL tell of a closed connection or of a timeout
        raise ProcessLostError(
            "another process of this job has ended, or is out of reach"
        ) from error


def launch(processes: int, device: str = "cpu", nodes: int = 1) -> FabricWorkers:
    """Start the job's other processes, each with this process's command line, and join them; under `torchrun` and the
    like, which have started them already, join those.

    Args:
        processes: on this machine.
        device: cpu or cuda.
        nodes: machines, each with as many processes.

    Raises:
        ModuleNotFoundError: Lightning Fabric is not installed.
        ValueError: fewer than two processes in all, or another device.
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(
            f"device is {device!r}; several processes work on cpu, or on cuda, one on each GPU"
        )
    if processes * nodes < 2:
        raise ValueError(
            f"{processes} processes on {nodes} machines are no job for several; leave them out"
        )
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "several processes need Lightning Fabric; install graphfew[distributed]"
        ) from error
    fabric = Fabric(accelerator=device, devices=processes, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    return FabricWorkers(fabric)
