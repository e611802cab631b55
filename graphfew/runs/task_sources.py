"""The training and validation tasks of a configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from graphfew.data import (
    CactusTasks,
    ChamlTasks,
    Curriculum,
    Dataset,
    Tasks,
    UmtraTasks,
    encode,
    kmeans_partitions,
    prototype_difficulty,
)
from graphfew.data.augment import parse_augmentation
from graphfew.data.int_range import IntRange
from graphfew.data.query_text import parse_queries
from graphfew.errors import ConfigurationError
from graphfew.methods.registry import find_method
from graphfew.runs.checkpoints import resolve_checkpoint
from graphfew.runs.config import TrainConfig
from graphfew.runs.config_checks import CACTUS, CHAML, UMTRA
from graphfew.runs.options import parse_ratios
from graphfew.runs.state import TrainingTasks
from graphfew.serialization import checkpoint

# Offset of the seed of validation tasks: they differ from training tasks even on the same split.
VALIDATION_SEED_OFFSET = 1_000_003


def training_tasks(
    config: TrainConfig, data: Dataset, device: torch.device | str = "cpu"
) -> TrainingTasks:
    """Create the training tasks.

    Args:
        config: the configuration.
        data: the split to train on.
        device: device of the encoder that embeds the items.

    Returns:
        The source of training tasks.

    Raises:
        ValueError: if the data set is too small for the tasks.
        FileNotFoundError: if `embedding` is missing.
    """
    numbers: dict[str, Any] = {
        "way": IntRange.parse(config.way, name="way"),
        "shot": IntRange.parse(config.shot, name="shot"),
        "query": parse_queries(config.query),
        "seed": config.schedule.seed,
    }
    if config.tasks == UMTRA and config.augment is not None:
        return UmtraTasks(data, parse_augmentation(config.augment), **numbers)
    if config.tasks == CACTUS:
        partitions = kmeans_partitions(
            embed_items(config, data, device),
            config.clusters,
            config.partitions,
            seed=config.schedule.seed,
        )
        unlabeled = IntRange.parse(config.unlabeled, name="unlabeled")
        return CactusTasks(data, partitions, unlabeled=unlabeled, **numbers)
    tasks = Tasks(data, **numbers, **_task_options(config))
    if config.tasks != CHAML:
        return tasks
    if not config.easy_steps:
        return ChamlTasks(tasks)
    features = dataclasses.replace(data, x=embed_items(config, data, device))
    n_easy_tasks = config.easy_steps * config.schedule.batch
    return ChamlTasks(tasks, curriculum=Curriculum(prototype_difficulty(features), n_easy_tasks))


def validation_tasks(config: TrainConfig, data: Dataset) -> Tasks:
    """Create the validation tasks, with their own seed. Raises ValueError as `Tasks` does."""
    way = config.validate_way
    # 5-way is the usual benchmark; weights that depend on the way allow no other than theirs.
    if way is None:
        way = config.way if find_method(config.method).fixed_way else "5"
    shot = config.shot if config.validate_shot is None else config.validate_shot
    return Tasks(
        data,
        way=IntRange.parse(way, name="validate_way"),
        shot=IntRange.parse(shot, name="validate_shot"),
        query=parse_queries(config.validate_query),
        seed=config.schedule.seed + VALIDATION_SEED_OFFSET,
        **_task_options(config),
    )


def embed_items(config: TrainConfig, data: Dataset, device: torch.device | str = "cpu") -> Tensor:
    """Embed all items by the encoder of `embedding`; without one, take their values.

    Args:
        config: the configuration.
        data: the items.
        device: device of the encoder.

    Returns:
        `[n, F]` features.

    Raises:
        ConfigurationError: if the items are words and there is no `embedding`.
        MissingFileError: if the checkpoint does not exist.
    """
    if config.embedding is not None:
        model = checkpoint.load(resolve_checkpoint(config.embedding), device=device)
        return encode(data, model.encoder, progress=False).x
    if data.x.dtype == torch.int64:
        raise ConfigurationError(
            f"{data!r} holds word indices, which have no distances; give a checkpoint as embedding",
            key="embedding",
        )
    return data.x.flatten(1).float()


def _task_options(config: TrainConfig) -> dict[str, Any]:
    """Arguments that training and validation tasks share."""
    return {
        "unlabeled": IntRange.parse(config.unlabeled, name="unlabeled"),
        "labeled_ratio": parse_ratios(config.labeled_ratio),
        "distractors": IntRange.parse(config.distractors, name="distractors"),
        "label_noise": config.label_noise,
        "within_groups": config.within_groups,
    }
