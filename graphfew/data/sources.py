"""TODO module docstring."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from graphfew.core.episode import Episode


@runtime_checkable
class TaskSource(Protocol):
    """Anything that makes a batch of tasks from their numbers, the same tasks whenever asked."""

    def batch(self, indices: range, /) -> tuple[Episode, Tensor]:
        """The tasks of these numbers as one episode, and the queries' classes `[Q]` int64."""
        ...


@runtime_checkable
class BatchSource(Protocol):
    """A `TaskSource`, or another source of batches that a module takes, such as `Shuffled` items for `Classifier`."""

    def batch(self, indices: range, /) -> tuple[Any, Tensor]:
        """The batch of these numbers, with a method `to(device)`, and what is to be told, `[Q]` int64."""
        ...
