"""Protocols of what training and evaluation draw batches from."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from graphfew.core.episode import Episode


@runtime_checkable
class TaskSource(Protocol):
    """Anything that returns a batch of tasks by index, the same tasks for the same indices.

    Example:
        >>> import graphfew as gf
        >>> isinstance(gf.Tasks(gf.data.digits()), TaskSource)
        True
    """

    def batch(self, indices: range, /) -> tuple[Episode, Tensor]:
        """Return several tasks as one episode, and the class of each query, `[Q]` int64."""
        ...


@runtime_checkable
class BatchSource(Protocol):
    """Anything that returns a batch by index: a `TaskSource`, or another source of batches.

    `ClassificationBatches` for `Classifier` is an example of the latter.

    Example:
        >>> import graphfew as gf
        >>> isinstance(gf.Tasks(gf.data.digits()), BatchSource)
        True
    """

    def batch(self, indices: range, /) -> tuple[Any, Tensor]:
        """Return a batch, which has a method `to(device)`, and its targets, `[Q]` int64."""
        ...
