"""The setting of the device benchmark: device, size, and the time that is left."""

from __future__ import annotations

import dataclasses
import time

import torch


class OutOfTime(Exception):
    """The time of the benchmark is used up."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all sections of the benchmark need.

    Attributes:
        device: where models and data are.
        repeats: number of rounds of every comparison.
        small: tiny sizes, to test the benchmark itself.
        deadline: `time.monotonic()` at which no further case begins.
    """

    device: torch.device
    repeats: int
    small: bool
    deadline: float

    @property
    def compiles(self) -> bool:
        """Whether compiled variants are measured; compiling takes longer than all small cases."""
        return not self.small

    def seconds_left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def check_time(self) -> None:
        """Raise OutOfTime after the deadline."""
        if self.seconds_left() <= 0:
            raise OutOfTime("the time of the benchmark was used up; raise --minutes")

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
