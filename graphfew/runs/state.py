"""`TrainingState`: model, tasks, loss and optimizer of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from graphfew.data import Dataset, Tasks
from graphfew.data.sources import BatchSource, FeedbackSource
from graphfew.evaluation.accuracy import DescribedTasks
from graphfew.nn.method import GraphMethod
from graphfew.runs.schedule import Schedule
from graphfew.training.update_rules import UpdateRule, query_loss_update


def no_op(steps_done: int) -> None:
    """Do nothing after a step."""
    del steps_done


@runtime_checkable
class TrainingTasks(DescribedTasks, Protocol):
    """Tasks of a data set that describe themselves."""

    @property
    def data(self) -> Dataset:
        """The data set."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingState:
    """Model, tasks, loss and optimizer of a training run; `build_state` creates it.

    Attributes:
        model: the method that is validated and saved.
        tasks: training tasks.
        validation: validation tasks.
        schedule: the schedule to run; its precision is one that the device supports.
        loss: the loss; None without training.
        optimizer: the optimizer; None without training.
        method: the method that is trained: `model`, unless that is a moving average of it.
        learner: the module that the optimizer updates; it contains `method` or its encoder.
        source: the batches that the learner is trained on.
        after_step: called with the number of completed steps after each step.
        update: the update rule.

    Example:
        >>> from graphfew.runs import TrainConfig, build_state
        >>> state = build_state(TrainConfig("egnn", "glyphs", encoder_arguments={"width": 4}))
        >>> state.learner is state.model, state.separate_learner
        (True, None)
    """

    model: GraphMethod
    tasks: TrainingTasks
    validation: Tasks
    schedule: Schedule
    loss: Callable[[Any, Tensor], Tensor] | None
    optimizer: torch.optim.Optimizer | None
    method: GraphMethod
    learner: nn.Module
    source: BatchSource
    after_step: Callable[[int], None] = no_op
    update: UpdateRule = query_loss_update

    @property
    def feedback_source(self) -> FeedbackSource | None:
        """The training tasks, if they depend on losses; checkpoints have their state."""
        return self.tasks if isinstance(self.tasks, FeedbackSource) else None

    @property
    def separate_learner(self) -> nn.Module | None:
        """The learner, if it has weights that the model does not have."""
        return None if self.learner is self.model else self.learner
