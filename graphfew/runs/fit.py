"""Training with validation, as a generator of events: the caller displays, saves and stops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from graphfew._utils.model_spec import JSON
from graphfew.data.sources import BatchSource
from graphfew.errors import InvalidInputError
from graphfew.evaluation.accuracy import DescribedTasks, Result, evaluate
from graphfew.nn.method import GraphMethod
from graphfew.runs.schedule import Schedule
from graphfew.runs.state import no_op
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup
from graphfew.training.loop import Feedback, TrainStep, train
from graphfew.training.update_rules import UpdateRule, query_loss_update


@dataclasses.dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training run: what it needs, in addition to the weights, to continue exactly.

    Attributes:
        step: number of completed steps.
        validated: step of the last validation, or -1.
        best: best validation accuracy so far, in `[0, 1]`, or -1.
        loss: sum of losses since the last validation.
        accuracy: sum of accuracies since the last validation.
        stale: number of validations since the best one.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs import TrainingProgress
        >>> TrainingProgress().add(gf.TrainStep(0, loss=1.5, accuracy=0.2)).step
        1
    """

    step: int = 0
    # -1 instead of 0, because a run of 0 steps is validated at step 0.
    validated: int = -1
    # Below every accuracy: the first validation is an improvement even at accuracy 0.
    best: float = -1.0
    loss: float = 0.0
    accuracy: float = 0.0
    stale: int = 0

    def add(self, step: TrainStep) -> TrainingProgress:
        """Return the progress after one more step."""
        return dataclasses.replace(
            self,
            step=step.index + 1,
            loss=self.loss + step.loss,
            accuracy=self.accuracy + step.accuracy,
        )

    def is_validation_step(self, schedule: Schedule) -> bool:
        """Check whether a validation is pending at this step."""
        is_last = self.step == schedule.steps
        is_regular = self.step > 0 and self.step % schedule.validate_every == 0
        # A resumed run must not repeat a validation that was saved at this step.
        return (is_last or is_regular) and self.validated != self.step

    def has_ended(self, schedule: Schedule) -> bool:
        """Check whether no step is left: all are done, or patience is exhausted."""
        out_of_patience = schedule.patience is not None and self.stale >= schedule.patience
        return self.step >= schedule.steps or out_of_patience

    def is_finished(self, schedule: Schedule) -> bool:
        """Check whether no step and no validation is left."""
        return self.has_ended(schedule) and self.validated == self.step


@dataclasses.dataclass(frozen=True)
class ValidationRecord:
    """One line of a run's metrics; accuracies are in `[0, 1]`.

    Attributes:
        step: number of completed steps.
        loss: mean training loss since the previous record; None without steps.
        accuracy: mean training accuracy since the previous record; None without steps.
        validation_accuracy: mean accuracy over validation tasks.
        validation_half_width: half width of its 95 % confidence interval.

    Example:
        >>> from graphfew.runs import ValidationRecord
        >>> ValidationRecord(500, 0.9, 0.7, 0.75, 0.02).to_json()["validation_accuracy"]
        0.75
    """

    step: int
    loss: float | None
    accuracy: float | None
    validation_accuracy: float
    validation_half_width: float

    def to_json(self) -> dict[str, JSON]:
        """Return the record as JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class TrainingEvent:
    """What happened in a training run: a step or a validation.

    Attributes:
        progress: progress of the run after it.
        step: the step, or None.
        record: the validation, or None.
        improved: whether the validation is the best so far.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs import TrainingEvent, TrainingProgress
        >>> TrainingEvent(TrainingProgress(step=1), step=gf.TrainStep(0, 1.5, 0.2)).improved
        False
    """

    progress: TrainingProgress
    step: TrainStep | None = None
    record: ValidationRecord | None = None
    improved: bool = False


def fit(
    model: GraphMethod,
    tasks: BatchSource,
    validation: DescribedTasks | None,
    schedule: Schedule,
    *,
    loss: Callable[[Any, Tensor], Tensor] | None,
    optimizer: torch.optim.Optimizer | None = None,
    progress: TrainingProgress | None = None,
    on_validation_progress: Callable[[int], None] | None = None,
    learner: nn.Module | None = None,
    after_step: Callable[[int], None] = no_op,
    update: UpdateRule = query_loss_update,
    feedback: Feedback | None = None,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[TrainingEvent]:
    """Train a model in place and validate it regularly.

    Args:
        model: the model to validate, on its device.
        tasks: training tasks, or other batches that the learner accepts.
        validation: tasks to validate on; None for no validation.
        schedule: steps, batch size, learning rate, seed and intervals.
        loss: the loss; may be None only if `schedule.steps` is 0.
        optimizer: an optimizer with the schedule's learning rate; None builds the schedule's one.
        progress: where to continue, with the weights and the optimizer of that step.
        on_validation_progress: called during validation with the number of completed tasks; it
            may raise to stop.
        learner: the module that is updated, if it is not the model itself; it has weights in common
            with the model, or updates them in `after_step`.
        after_step: called with the number of completed steps after each step.
        update: the update rule, see `train`.
        feedback: receives the loss of each query after each step, see `train`.
        process_group: processes that share each step and each validation.

    Returns:
        An iterator with one event per step and per validation.

    Raises:
        InvalidInputError: if there are steps but no loss, or no trainable parameters.
        NumericalError: if the loss is not finite.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs import Schedule, fit
        >>> tasks = gf.Tasks(gf.data.digits(), way=3, query=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> schedule = Schedule(steps=2, batch=2, validate_tasks=4)
        >>> [event.progress.step for event in fit(model, tasks, tasks, schedule, loss=gf.node_loss)]
        [1, 2, 2]
    """
    now = progress or TrainingProgress()

    # A closure on purpose: it reads the current `now`, which the loops below rebind.
    def pending_validation() -> Iterator[TrainingEvent]:
        if validation is None or not now.is_validation_step(schedule):
            return
        result = evaluate(
            model,
            validation,
            schedule.validate_tasks,
            progress=on_validation_progress,
            process_group=process_group,
        )
        yield _validation_event(now, result)

    # A run that was stopped before a validation was saved continues with it.
    for event in pending_validation():
        now = event.progress
        yield event
    if now.has_ended(schedule):
        return
    if loss is None:
        raise InvalidInputError(
            f"fit() got steps={schedule.steps} and no loss; give a loss, or steps=0"
        )
    # With an average or a classifier, the optimizer updates another module than `model`.
    learner = learner or model
    # Tasks, seeds and learning rate of a step follow from its index: with weights and optimizer
    # restored, `start` is all that `train` needs to continue bit for bit.
    steps = train(
        learner,
        tasks,
        loss=loss,
        update=update,
        feedback=feedback,
        batch=schedule.batch,
        steps=schedule.steps,
        optimizer=optimizer or schedule.build_optimizer(learner),
        scheduler=schedule.build_scheduler,
        start=now.step,
        seed=schedule.seed,
        precision=schedule.dtype,
        autocast_layers=schedule.autocast_layers,
        checkpoint_activations=schedule.recompute,
        process_group=process_group,
    )
    for step in steps:
        now = now.add(step)
        # Before the event: a caller who saves at it must save the updated average.
        after_step(now.step)
        yield TrainingEvent(now, step=step)
        for event in pending_validation():
            now = event.progress
            yield event
        if now.has_ended(schedule):
            return


def _validation_event(progress: TrainingProgress, result: Result) -> TrainingEvent:
    """The event of a validation; sums over steps start again after it."""
    loss = None
    accuracy = None
    # -1 means that no validation has taken place yet.
    n_steps = progress.step - max(progress.validated, 0)
    if n_steps:
        loss = progress.loss / n_steps
        accuracy = progress.accuracy / n_steps
    record = ValidationRecord(progress.step, loss, accuracy, result.mean, result.half_width)
    # A tie is no improvement: the earlier checkpoint stays the best.
    improved = result.mean > progress.best
    after = TrainingProgress(
        step=progress.step,
        validated=progress.step,
        best=max(progress.best, result.mean),
        stale=0 if improved else progress.stale + 1,
    )
    return TrainingEvent(after, record=record, improved=improved)
