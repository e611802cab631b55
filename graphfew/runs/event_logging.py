"""Numbers of training events for loggers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from graphfew.errors import InvalidInputError
from graphfew.loggers.logger_protocol import LogFunction
from graphfew.runs.fit import TrainingEvent, ValidationRecord

LOG_EVERY = 50


def log_events(
    log: LogFunction, optimizer: torch.optim.Optimizer | None = None, *, every: int = LOG_EVERY
) -> Callable[[TrainingEvent], None]:
    """Return a function that logs the events of a run, for `execute(on_event=...)` or a loop.

    Steps are logged as `train/loss`, `train/accuracy` and `train/learning_rate`. Validations are
    logged as `validation/accuracy` and `validation/half_width`, with the means over all steps since
    the last validation, `train/mean_loss` and `train/mean_accuracy`.

    Args:
        log: receives numbers by name and the number of completed steps, as `open_logger` yields.
        optimizer: its learning rate is logged; None leaves it out.
        every: number of steps between steps that are logged. Validations are always logged.

    Returns:
        The function.

    Raises:
        InvalidInputError: if `every` is below 1.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs import TrainingEvent, TrainingProgress, log_events
        >>> on_event = log_events(lambda values, step: print(step, values), every=2)
        >>> on_event(TrainingEvent(TrainingProgress(step=2), step=gf.TrainStep(1, 1.5, 0.25)))
        2 {'train/loss': 1.5, 'train/accuracy': 0.25}
    """
    if every < 1:
        raise InvalidInputError(f"every is {every}; it must be at least 1")

    def on_event(event: TrainingEvent) -> None:
        completed = event.progress.step
        if event.record is not None:
            log(_validation_values(event.record), completed)
        elif event.step is not None and completed % every == 0:
            values = {"train/loss": event.step.loss, "train/accuracy": event.step.accuracy}
            if optimizer is not None:
                values["train/learning_rate"] = float(optimizer.param_groups[0]["lr"])
            log(values, completed)

    return on_event


def _validation_values(record: ValidationRecord) -> dict[str, float]:
    values = {
        "validation/accuracy": record.validation_accuracy,
        "validation/half_width": record.validation_half_width,
    }
    if record.loss is not None:
        values["train/mean_loss"] = record.loss
    if record.accuracy is not None:
        values["train/mean_accuracy"] = record.accuracy
    return values
