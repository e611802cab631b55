"""`Job`: what a training run works on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from graphfew.data import Tasks
from graphfew.data.sources import BatchSource
from graphfew.nn.method import GraphMethod
from graphfew.runs.fit import nothing


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingState:
    """What `fit` works on. `optimizer` and `loss` are None where nothing is trained.

    Attributes:
        model: what is validated and kept.
        tasks, validation: few-shot tasks.
        taught: the method that is trained; `model` itself unless that is an average over steps.
        learner: what the steps update; holds `taught`, or its encoder.
        source: what the learner learns from.
        after: called with the number of steps done after each.
    """

    model: GraphMethod
    tasks: Tasks
    validation: Tasks
    loss: Callable[[Any, Tensor], Tensor] | None
    optimizer: torch.optim.Optimizer | None
    taught: GraphMethod
    learner: nn.Module
    source: BatchSource
    after: Callable[[int], None] = nothing

    @property
    def apart(self) -> nn.Module | None:
        """The learner, where it has weights that the model has not."""
        return None if self.learner is self.model else self.learner
