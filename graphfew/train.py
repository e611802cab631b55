"""Episodic training, as a generator of steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from graphfew.episode import Episode
from graphfew.losses import Loss
from graphfew.model import GraphMethod
from graphfew.seeding import seeded


@runtime_checkable
class TaskSource(Protocol):
    """Anything that makes a batch of tasks from their numbers, the same tasks whenever asked."""

    def batch(self, indices: range, /) -> tuple[Episode, Tensor]:
        """The tasks of these numbers as one episode, and the queries' classes `[Q]` int64."""
        ...


@dataclasses.dataclass(frozen=True)
class Step:
    """One training step: its index from 0, the loss before the update, and the queries' accuracy in `[0, 1]`."""

    index: int
    loss: float
    accuracy: float


def halve_every(lr: float, interval: int) -> Callable[[int], float]:
    """A learning rate that starts at `lr` and is halved every `interval` steps."""
    return lambda step: float(lr * 0.5 ** (step // interval))


def adam(model: GraphMethod, *, lr: float = 1e-3, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam over the model's trainable weights. Raises ValueError where there are none."""
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise ValueError("the model has no trainable weights; evaluate it as it is, or give it an encoder that learns")
    return torch.optim.Adam(weights, lr=lr, weight_decay=weight_decay)


def train(model: GraphMethod, tasks: TaskSource, *, loss: Loss, batch: int = 32, steps: int = 10_000,
          lr: Callable[[int], float] | float = 1e-3, optimizer: torch.optim.Optimizer | None = None, start: int = 0,
          seed: int = 0) -> Iterator[Step]:
    """Train the model, one yielded `Step` per update; whatever happens between steps is the caller's.

    Step `k` sees tasks `k * batch .. (k+1) * batch - 1` and randomness seeded by `(seed, k)` alone, so training that
    goes on from a checkpoint (`start`, and the `optimizer` as it was) gives the same weights as training that never
    stopped.

    Args:
        model: trained in place, on the device where its weights are.
        tasks: a task source, such as `Tasks`.
        loss: `(output, target) -> scalar`; see the registry for what a method's paper uses.
        batch: tasks per step.
        steps: the step to stop before, counted from 0.
        lr: learning rate, or a function of the step.
        optimizer: Adam where none is given.
        start: the first step.
        seed: of dropout and whatever else draws at random in training.

    Raises:
        ValueError: a batch or number of steps below 1, or a model without trainable weights; at the call.
        FloatingPointError: the loss is not finite; the weights are those before the step.
    """
    if batch < 1 or steps < 1 or start < 0:
        raise ValueError(f"train got batch={batch}, steps={steps}, start={start}; batch and steps must be at "
                         "least 1, start at least 0")
    rate = lr if callable(lr) else lambda step: lr
    return _steps(model, tasks, loss, batch, range(start, steps), rate, optimizer or adam(model), seed)


def _steps(model: GraphMethod, tasks: TaskSource, loss: Loss, batch: int, span: range, rate: Callable[[int], float],
           optimizer: torch.optim.Optimizer, seed: int) -> Iterator[Step]:
    device = next(model.parameters()).device
    for index in span:
        episode, target = tasks.batch(range(index * batch, (index + 1) * batch))
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = rate(index)
        with seeded(seed, index):
            step = _update(model, episode.to(device), target.to(device), loss, optimizer, index)
        yield step


def _update(model: GraphMethod, episode: Episode, target: Tensor, loss: Loss, optimizer: torch.optim.Optimizer,
            index: int) -> Step:
    out = model(episode)
    value = loss(out, target)
    if not math.isfinite(value.item()):
        raise FloatingPointError(f"the loss is {value.item()} at step {index}; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    accuracy = (out.logits.argmax(1) == target).float().mean()
    return Step(index, value.item(), accuracy.item())
