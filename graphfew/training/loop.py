"""Episodic training, as a generator of steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from graphfew._utils.seeding import seeded
from graphfew.backbones import encoding_in
from graphfew.data.sources import BatchSource
from graphfew.nn.pair_mlp import activation_checkpointing
from graphfew.training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    average_gradients,
    rank_range,
    synchronized_batch_norm,
)


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """One training step: its index from 0, the loss before the update, and the queries' accuracy in `[0, 1]`."""

    index: int
    loss: float
    accuracy: float


def step_decay(lr: float, interval: int) -> Callable[[int], float]:
    """A learning rate that starts at `lr` and is halved every `interval` steps."""
    return lambda step: float(lr * 0.5 ** (step // interval))


def cosine_decay(lr: float, steps: int) -> Callable[[int], float]:
    """A learning rate that falls from `lr` to 0 over `steps` steps along half a cosine."""
    return lambda step: lr * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def linear_warmup(rate: Callable[[int], float], steps: int) -> Callable[[int], float]:
    """The rate, reached in equal parts over the first `steps` steps."""
    return lambda step: rate(step) * min(1.0, (step + 1) / (steps + 1))


def adam(model: nn.Module, *, lr: float = 1e-3, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam over the model's trainable weights. Raises ValueError where there are none."""
    return torch.optim.Adam(trainable(model), lr=lr, weight_decay=weight_decay)


def adamw(model: nn.Module, *, lr: float = 1e-3, weight_decay: float = 0.0) -> torch.optim.AdamW:
    """Adam with decay apart from the gradient, over the model's trainable weights. Raises as `adam` does."""
    return torch.optim.AdamW(trainable(model), lr=lr, weight_decay=weight_decay)


def sgd(model: nn.Module, *, lr: float = 0.1, weight_decay: float = 0.0) -> torch.optim.SGD:
    """Gradient descent with Nesterov's momentum of 0.9 over the model's trainable weights. Raises as `adam` does."""
    return torch.optim.SGD(
        trainable(model), lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=True
    )


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The model's trainable weights. Raises ValueError where there are none."""
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise ValueError(
            "the model has no trainable weights; evaluate it as it is, or give it an encoder that learns"
        )
    return weights


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move an average of a model's weights over its steps towards the weights after `step` (counted from 1).

    Floating weights and statistics become `d * average + (1 - d) * model`, with `d` the smaller of `decay` and
    `step / (step + 9)`, so that the beginning is soon forgotten; all others are copied.

    Raises:
        ValueError: two models of other weights.
    """
    own, new = average.state_dict(), model.state_dict()
    if own.keys() != new.keys():
        raise ValueError("an average follows a model of the same weights; build both by one recipe")
    share = 1 - min(decay, step / (step + 9))
    for name, value in own.items():
        if value.is_floating_point():
            value.lerp_(new[name], share)
        else:
            value.copy_(new[name])


def train(
    model: nn.Module,
    tasks: BatchSource,
    *,
    loss: Callable[[Any, Tensor], Tensor],
    batch: int = 32,
    steps: int = 10_000,
    lr: Callable[[int], float] | float = 1e-3,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    whole: bool = False,
    recompute: bool = False,
    workers: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[TrainStep]:
    """Train the model, one yielded `Step` per update; whatever happens between steps is the caller's.

    Step `k` sees tasks `k * batch .. (k+1) * batch - 1` and randomness seeded by `(seed, k)` alone, so training that
    goes on from a checkpoint (`start`, and the `optimizer` as it was) gives the same weights as training that never
    stopped.

    Args:
        model: trained in place, on the device where its weights are; a `GraphMethod`, or any module that takes what
            `tasks` gives.
        tasks: a task source, such as `Tasks`; `batch` counts what it counts.
        loss: `(output, target) -> scalar`; see the registry for what a method's paper uses.
        batch: tasks per step.
        steps: the step to stop before, counted from 0.
        lr: learning rate, or a function of the step; it takes the place of the optimizer's own.
        optimizer: Adam where none is given.
        start: the first step.
        seed: of dropout and whatever else draws at random in training.
        precision: of the encoder's products in training; bfloat16 is about twice as fast where the processor or the
            GPU knows it. Weights, features and all that follows stay float32.
        whole: that precision is of all the model's products, its layers' too; weights stay float32.
        recompute: keep no rows of EGNN's and GNN's networks of pairs, and work them out again backward: for large
            episodes, at about half of the memory; the same numbers, a quarter more time.
        workers: the processes that share every batch in parts of like length, each with a model of the same weights.
            Gradients, and the statistics of batch norms, are those of the whole batch; a loss is the mean of its
            parts' losses, which is that of the whole where parts have as many queries. Dropout is drawn by each.

    Raises:
        ValueError: a batch or number of steps below 1, a model without trainable weights, or a batch that the workers
            cannot share evenly; at the call.
        FloatingPointError: the loss is not finite; the weights are those before the step.
    """
    if batch < 1 or steps < 1 or start < 0:
        raise ValueError(
            f"train got batch={batch}, steps={steps}, start={start}; batch and steps must be at "
            "least 1, start at least 0"
        )
    rank_range(range(batch), workers)
    rate = lr if callable(lr) else lambda step: lr
    return _steps(
        model,
        tasks,
        loss,
        batch,
        range(start, steps),
        rate,
        optimizer or adam(model),
        seed,
        precision,
        whole,
        recompute,
        workers,
    )


def _steps(
    model: nn.Module,
    tasks: BatchSource,
    loss: Callable[[Any, Tensor], Tensor],
    batch: int,
    span: range,
    rate: Callable[[int], float],
    optimizer: torch.optim.Optimizer,
    seed: int,
    precision: torch.dtype,
    whole: bool,
    recompute: bool,
    workers: ProcessGroup,
) -> Iterator[TrainStep]:
    device = next(model.parameters()).device
    reduced = whole and precision != torch.float32
    place = () if workers.size == 1 else (workers.rank,)
    with (
        synchronized_batch_norm(model, workers),
        activation_checkpointing(model) if recompute else nullcontext(),
    ):
        for index in span:
            episode, target = tasks.batch(
                rank_range(range(index * batch, (index + 1) * batch), workers)
            )
            model.train()
            for group in optimizer.param_groups:
                group["lr"] = rate(index)
            target = target.to(device)
            with seeded(seed, index, *place):
                with encoding_in(model, precision), torch.autocast(device.type, precision, reduced):
                    out = model(episode.to(device))
                    value = loss(out, target)
                mean, accuracy = _together(
                    value.detach(), out.logits.detach().argmax(1) == target, workers
                )
                _update(value, mean, optimizer, index, workers)
            yield TrainStep(index, mean, accuracy)


def _together(value: Tensor, right: Tensor, workers: ProcessGroup) -> tuple[float, float]:
    """The loss and the accuracy over all workers."""
    kind = torch.promote_types(value.dtype, torch.float32)
    own = torch.stack(
        [value.to(kind), right.to(kind).sum(), value.new_tensor(len(right), dtype=kind)]
    )
    total, found, asked = workers.sum(own).tolist()
    return total / workers.size, found / asked


def _update(
    value: Tensor, mean: float, optimizer: torch.optim.Optimizer, index: int, workers: ProcessGroup
) -> None:
    if not math.isfinite(mean):
        raise FloatingPointError(f"the loss is {mean} at step {index}; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    average_gradients([w for group in optimizer.param_groups for w in group["params"]], workers)
    optimizer.step()
