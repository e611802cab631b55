"""What a training run updates and what that learns from: tasks or classes, augmented or not, averaged or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import nn

from graphfew.data import encode
from graphfew.data.augment import Augmented, parse_augment
from graphfew.nn.method import GraphMethod, device_of
from graphfew.runs.config import CLASSES, OPTIMIZERS, Schedule, TrainConfig
from graphfew.runs.factory import build_model
from graphfew.runs.state import TrainingState
from graphfew.training.loop import follow
from graphfew.training.pretrain import ClassificationBatches, Classifier


def build_objective(config: TrainConfig, job: TrainingState) -> TrainingState:
    """The job with what is trained, what it learns from and its optimizer, as the configuration says.

    Raises:
        ValueError: a model without trainable weights, or an augmentation of items that are not images.
    """
    schedule = config.schedule
    if schedule.average is not None:
        taught = build_model(config).to(device_of(job.model))
        taught.load_state_dict(job.model.state_dict())
        taught.encoder.requires_grad_(not config.freeze_encoder)
        job = dataclasses.replace(
            job, taught=taught, learner=taught, after=_following(job.model, taught, schedule)
        )
    change = None if config.augment is None else parse_augment(config.augment)
    if config.objective == CLASSES:
        items = ClassificationBatches(job.tasks.data, schedule.seed, change, config.turns)
        classifier = Classifier(
            job.taught.encoder, _width(job.taught.encoder), items.classes, seed=schedule.seed
        )
        job = dataclasses.replace(job, learner=classifier.to(device_of(job.model)), source=items)
    elif change is not None:
        job = dataclasses.replace(job, source=Augmented(job.tasks, change, schedule.seed))
    if not schedule.steps:
        return job
    job.source.batch(range(1))
    make = OPTIMIZERS[schedule.optimizer]
    return dataclasses.replace(
        job, optimizer=make(job.learner, lr=schedule.lr, weight_decay=schedule.weight_decay)
    )


def _following(
    average: GraphMethod, model: GraphMethod, schedule: Schedule
) -> Callable[[int], None]:
    return lambda done: follow(average, model, schedule.average or 0.0, done)


def _width(encoder: nn.Module) -> int:
    width: int = encoder.out_dim  # type: ignore[assignment]
    return width


def without_encoder(job: TrainingState) -> TrainingState:
    """The same job on items that are encoded already, for an encoder that does not learn: layers are shared."""
    tasks, validation = (
        dataclasses.replace(t, data=encode(t.data, job.model.encoder, progress=False))
        for t in (job.tasks, job.validation)
    )
    taught = job.taught.on_features()
    return dataclasses.replace(
        job,
        model=job.model.on_features(),
        tasks=tasks,
        validation=validation,
        taught=taught,
        learner=taught,
        source=tasks,
    )
