"""Protocols of what training and evaluation draw batches from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from graphfew._utils.model_spec import JSON
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


@runtime_checkable
class FeedbackSource(BatchSource, Protocol):
    """A source whose next batch depends on the losses of the last one; `train` reports them.

    Its state is saved with a run's checkpoint. `batch` is a function of the indices and the state,
    and only `update` changes the state.

    Example:
        >>> import graphfew as gf
        >>> isinstance(gf.Tasks(gf.data.digits()), FeedbackSource)
        False
    """

    def update(self, indices: range, losses: Tensor, /) -> None:
        """Take note of a batch: its indices, and the loss of each query, `[Q]`."""
        ...

    def state_dict(self) -> dict[str, JSON]:
        """Return the state as JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore a state. Raises InvalidInputError if it is invalid."""
        ...
