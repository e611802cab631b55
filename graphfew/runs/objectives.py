"""What a training run updates and on which batches: tasks or classes, augmented or averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import nn

from graphfew.data import CactusTasks, ChamlTasks, Dataset, Tasks, encode
from graphfew.data.augment import Augmentation, parse_augmentation
from graphfew.data.augmented_tasks import AugmentedTasks
from graphfew.errors import InvalidInputError
from graphfew.nn.method import GraphMethod, device_of
from graphfew.runs.config import TrainConfig
from graphfew.runs.config_checks import CLASSES, UMTRA
from graphfew.runs.factory import build_model
from graphfew.runs.state import TrainingState, TrainingTasks
from graphfew.runs.update_options import QUERY_LOSS
from graphfew.training.averaging import ema
from graphfew.training.outer_rules import check_initial_network
from graphfew.training.pretrain import ClassificationBatches, Classifier


def build_objective(config: TrainConfig, state: TrainingState) -> TrainingState:
    """Add the learner, its batches and its optimizer to a state.

    Args:
        config: the configuration.
        state: a state whose learner is its model.

    Returns:
        The state that `fit` trains.

    Raises:
        ValueError: if the model has no trainable parameters, or items to augment are not images.
    """
    # First, because the classifier is built on `state.method`, which this replaces.
    if config.schedule.average is not None:
        state = _add_average(config, state, config.schedule.average)
    augment = None if config.augment is None else parse_augmentation(config.augment)
    if config.objective == CLASSES:
        state = _add_classifier(config, state, augment)
    elif augment is not None and config.tasks != UMTRA:
        # Drawn from the seed and the indices of the batch, so a resumed run repeats it exactly.
        source = AugmentedTasks(state.tasks, augment, config.schedule.seed)
        state = dataclasses.replace(state, source=source)
    if config.updates.update != QUERY_LOSS:
        assert state.loss is not None  # only objective=classes has none
        batch, _ = state.tasks.batch(range(1))
        check_initial_network(state.learner, batch, state.loss)
        state = dataclasses.replace(state, update=config.updates.build_rule())
    if not config.schedule.steps:
        return state
    # Before the first step, not in it.
    state.source.batch(range(1))  # raises if items cannot be augmented
    optimizer = config.schedule.build_optimizer(state.learner)
    return dataclasses.replace(state, optimizer=optimizer)


def _add_average(config: TrainConfig, state: TrainingState, decay: float) -> TrainingState:
    """Train a second copy of the model, whose moving average is validated and saved."""
    # Built again instead of deep-copied: `build_other_mode` is a closure, which a deep copy
    # would share, and with it the modules of the original.
    method = build_model(config).to(device_of(state.model))
    method.load_state_dict(state.model.state_dict())
    # `load_state_dict` copies values, not `requires_grad`.
    method.encoder.requires_grad_(not config.freeze_encoder)
    return dataclasses.replace(
        state,
        method=method,
        learner=method,
        after_step=_average_updater(state.model, method, decay),
    )


def _average_updater(
    model: GraphMethod, method: GraphMethod, decay: float
) -> Callable[[int], None]:
    """The function that moves `model` towards `method` after each step."""
    average = ema(method, decay)
    # Not the deep copy of `method`: its other evaluation mode would share weights with `method`.
    average.module = model

    def update(steps_done: int) -> None:
        # The count follows from the step, so checkpoints need not save it.
        average.n_averaged.fill_(steps_done)
        average.update_parameters(method)

    return update


def _add_classifier(
    config: TrainConfig, state: TrainingState, augment: Augmentation | None
) -> TrainingState:
    """Train the encoder as part of a classifier of all classes of the split."""
    seed = config.schedule.seed
    source = ClassificationBatches(state.tasks.data, seed, augment, config.turns)
    encoder = state.method.encoder
    classifier = Classifier(encoder, _out_dim(encoder), source.classes, seed=seed)
    learner = classifier.to(device_of(state.model))
    return dataclasses.replace(state, learner=learner, source=source)


def _on_items(tasks: TrainingTasks, data: Dataset) -> TrainingTasks:
    """The same tasks of other items."""
    if isinstance(tasks, ChamlTasks):
        return tasks.on(data)  # with the same state, which checkpoints save
    if isinstance(tasks, Tasks | CactusTasks):
        return dataclasses.replace(tasks, data=data)
    raise InvalidInputError(f"tasks of type {type(tasks).__name__} cannot be encoded once")


def _out_dim(encoder: nn.Module) -> int:
    """Number of features of a backbone."""
    out_dim: int = encoder.out_dim  # type: ignore[assignment]
    return out_dim


def encode_items(state: TrainingState) -> TrainingState:
    """Encode all items once, for a frozen encoder; the layers are shared with `state`.

    Args:
        state: a state whose encoder is not trained.

    Returns:
        A state of methods on features and tasks of encoded items.
    """
    encoder = state.model.encoder
    tasks = _on_items(state.tasks, encode(state.tasks.data, encoder, progress=False))
    validation_data = encode(state.validation.data, encoder, progress=False)
    validation = dataclasses.replace(state.validation, data=validation_data)
    # `on_features` shares the layers instead of copying them, so the optimizer, the moving
    # average and the checkpoints, which are built on the full models, see every update.
    method = state.method.on_features()
    return dataclasses.replace(
        state,
        model=state.model.on_features(),
        tasks=tasks,
        validation=validation,
        method=method,
        learner=method,
        source=tasks,
    )
