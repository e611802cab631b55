"""Training with validation, as a generator of moments: the caller shows, saves and stops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from graphfew._utils.model_spec import JSON
from graphfew.data.sources import BatchSource
from graphfew.evaluation.accuracy import DescribedTasks, Result, evaluate
from graphfew.nn.method import GraphMethod
from graphfew.runs.config import WHOLE, Schedule
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup
from graphfew.training.loop import TrainStep, adam, cosine_decay, linear_warmup, step_decay, train


@dataclasses.dataclass(frozen=True)
class TrainingProgress:
    """How far training is, and what it needs beside the weights in order to go on exactly.

    Shapes:
        step: steps done.
        validated: the step of the last validation, or -1.
        best: the best validation accuracy so far, in `[0, 1]`, or -1.
        loss, accuracy: sums over the steps since the last validation.
        stale: validations since the best one.
    """

    step: int = 0
    validated: int = -1
    best: float = -1.0
    loss: float = 0.0
    accuracy: float = 0.0
    stale: int = 0

    def add(self, step: TrainStep) -> TrainingProgress:
        """The tally after one more step."""
        return dataclasses.replace(
            self,
            step=step.index + 1,
            loss=self.loss + step.loss,
            accuracy=self.accuracy + step.accuracy,
        )


@dataclasses.dataclass(frozen=True)
class ValidationRecord:
    """A line of the metrics: means over the steps since the line before (None where there were none), and validation.

    Accuracies and the 95 % half width are in `[0, 1]`.
    """

    step: int
    loss: float | None
    accuracy: float | None
    validation_accuracy: float
    validation_half_width: float

    def to_json(self) -> dict[str, JSON]:
        """The record as JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class ValidationEvent:
    """After a step (`step` is set) or after a validation (`record` is set); `improved` where it is the best so far."""

    tally: TrainingProgress
    step: TrainStep | None = None
    record: ValidationRecord | None = None
    improved: bool = False


def nothing(done: int) -> None:
    """Does nothing after a step."""
    del done


def ended(tally: TrainingProgress, schedule: Schedule) -> bool:
    """Whether no step is left: all are done, or patience is at its end."""
    return tally.step >= schedule.steps or (
        schedule.patience is not None and tally.stale >= schedule.patience
    )


def fit(
    model: GraphMethod,
    tasks: BatchSource,
    validation: DescribedTasks | None,
    schedule: Schedule,
    *,
    loss: Callable[[Any, Tensor], Tensor] | None,
    optimizer: torch.optim.Optimizer | None = None,
    tally: TrainingProgress | None = None,
    progress: Callable[[int], None] | None = None,
    learner: nn.Module | None = None,
    after: Callable[[int], None] = nothing,
    workers: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[ValidationEvent]:
    """Train the model in place and validate it on the way, one `Moment` per step and per validation.

    Args:
        model: on its device.
        tasks: training tasks, or what the learner takes.
        validation: tasks to validate on; None never validates.
        schedule: steps, batch, learning rate, seed and intervals.
        loss: None only where `schedule.steps` is 0.
        optimizer: Adam with the schedule's weight decay where none is given.
        tally: where to go on from, with the weights and the optimizer as they were then.
        progress: called during validation with the number of tasks done; it may raise in order to stop.
        learner: what the steps update, where that is not the model itself but shares weights with it, or feeds it
            through `after`.
        after: called with the number of steps done after each.
        workers: the processes that share every step and every validation.

    Raises:
        ValueError: steps without a loss, a model without trainable weights, or a task that the model refuses.
        FloatingPointError: the loss is not finite.
    """
    now = tally or TrainingProgress()

    def look() -> Iterator[ValidationEvent]:
        if validation is not None and due(now, schedule):
            yield _judge(
                now,
                evaluate(
                    model, validation, schedule.validate_tasks, progress=progress, workers=workers
                ),
            )

    for moment in look():
        now = moment.tally
        yield moment
    for step in _steps(
        learner or model,
        tasks,
        schedule,
        loss,
        optimizer,
        schedule.steps if ended(now, schedule) else now.step,
        workers,
    ):
        now = now.add(step)
        after(now.step)
        yield ValidationEvent(now, step=step)
        for moment in look():
            now = moment.tally
            yield moment
        if ended(now, schedule):
            return


def due(tally: TrainingProgress, schedule: Schedule) -> bool:
    """Whether this step is one to validate at and has not been validated."""
    wanted = tally.step == schedule.steps or (
        tally.step > 0 and tally.step % schedule.validate_every == 0
    )
    return wanted and tally.validated != tally.step


def rate(schedule: Schedule) -> Callable[[int], float]:
    """The learning rate at each step."""
    fall = (
        cosine_decay(schedule.lr, schedule.steps)
        if schedule.cosine
        else step_decay(schedule.lr, schedule.halve_every or max(1, schedule.steps))
    )
    return linear_warmup(fall, schedule.warmup) if schedule.warmup else fall


def _steps(
    learner: nn.Module,
    tasks: BatchSource,
    schedule: Schedule,
    loss: Callable[[Any, Tensor], Tensor] | None,
    optimizer: torch.optim.Optimizer | None,
    start: int,
    workers: ProcessGroup,
) -> Iterator[TrainStep]:
    if start >= schedule.steps:
        return iter(())
    if loss is None:
        raise ValueError(f"fit got steps={schedule.steps} and no loss; give a loss, or steps=0")
    return train(
        learner,
        tasks,
        loss=loss,
        batch=schedule.batch,
        steps=schedule.steps,
        lr=rate(schedule),
        start=start,
        seed=schedule.seed,
        optimizer=optimizer or adam(learner, weight_decay=schedule.weight_decay),
        precision=getattr(torch, schedule.precision.removesuffix(WHOLE)),
        whole=schedule.precision.endswith(WHOLE),
        recompute=schedule.recompute,
        workers=workers,
    )


def _judge(tally: TrainingProgress, result: Result) -> ValidationEvent:
    count = tally.step - max(tally.validated, 0)
    loss, accuracy = (tally.loss / count, tally.accuracy / count) if count else (None, None)
    record = ValidationRecord(tally.step, loss, accuracy, result.mean, result.half_width)
    better = result.mean > tally.best
    after = TrainingProgress(
        step=tally.step,
        validated=tally.step,
        best=max(tally.best, result.mean),
        stale=0 if better else tally.stale + 1,
    )
    return ValidationEvent(after, record=record, improved=better)
