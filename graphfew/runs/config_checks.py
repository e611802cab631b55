"""Checks of training options that depend on each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphfew.errors import ConfigurationError
from graphfew.runs.schedule import FLOAT32
from graphfew.runs.update_options import QUERY_LOSS

# Objectives, and sources of training tasks.
TASKS, CLASSES = "tasks", "classes"
LABELED, CACTUS, UMTRA, CHAML = "labeled", "cactus", "umtra", "chaml"


def check_combinations(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check that no option contradicts another one or has no effect.

    An option without effect is an error, because `config.json` would record what never happened.

    Args:
        options: every option of a training run by name.
        defaults: the default of each option.

    Raises:
        ConfigurationError: its key is the option.

    Example:
        >>> from graphfew.runs import TrainConfig
        >>> TrainConfig("egnn", "glyphs", turns=True)
        Traceback (most recent call last):
        graphfew.errors.ConfigurationError: turns needs objective=classes; for tasks, use a ...
    """
    _check_objective(options)
    _check_tasks(options, defaults)
    _check_update(options)
    _check_frozen_encoder(options)


def _check_objective(options: Mapping[str, Any]) -> None:
    """Check the options that depend on the objective."""
    if options["objective"] == CLASSES and options["loss"] is not None:
        raise ConfigurationError(
            f"loss is {options['loss']!r}, but objective=classes uses cross-entropy; leave loss out",
            key="loss",
        )
    if options["turns"] and options["objective"] != CLASSES:
        raise ConfigurationError(
            "turns needs objective=classes; for tasks, use a data set with rotated classes",
            key="turns",
        )


def _check_tasks(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check the options that depend on the source of tasks."""
    source = options["tasks"]
    needed = {
        "clusters": source == CACTUS,
        "partitions": source == CACTUS,
        "embedding": source == CACTUS or options["easy_steps"] > 0,
        "easy_steps": source == CHAML,
        "label_noise": source not in (CACTUS, UMTRA),
        "labeled_ratio": source not in (CACTUS, UMTRA),
        "distractors": source not in (CACTUS, UMTRA),
        "within_groups": source not in (CACTUS, UMTRA),
        "unlabeled": source != UMTRA,
    }
    for name, has_effect in needed.items():
        value = options[name]
        if value != defaults[name] and not has_effect:
            raise ConfigurationError(
                f"{name} is {value!r}, which has no effect with tasks={source}; leave it "
                "out, or choose other tasks",
                key=name,
            )
    if source == UMTRA and options["augment"] is None:
        raise ConfigurationError(
            "tasks=umtra needs the augmentation of the copies; give augment, such as "
            "dropout+crop:6",
            key="augment",
        )
    if source != LABELED and options["objective"] == CLASSES:
        raise ConfigurationError(
            f"tasks is {source}, but objective=classes trains without tasks; leave tasks out",
            key="tasks",
        )


def _check_update(options: Mapping[str, Any]) -> None:
    """Check the options that an update rule without query loss excludes."""
    update = options["update"]
    if update == QUERY_LOSS:
        return
    for name, value, needed in (
        ("objective", options["objective"], TASKS),
        ("precision", options["precision"], FLOAT32),
        ("freeze_encoder", options["freeze_encoder"], False),
    ):
        if value != needed:
            raise ConfigurationError(
                f"{name} is {value}, but update={update} needs {needed}; leave {name} out",
                key=name,
            )
    if options["tasks"] == CHAML:
        raise ConfigurationError(
            f"tasks=chaml needs losses of queries, which update={update} does not compute; "
            "choose other tasks",
            key="tasks",
        )


def _check_frozen_encoder(options: Mapping[str, Any]) -> None:
    """Check the options that need a frozen encoder, or exclude one."""
    if not options["freeze_encoder"]:
        for name, value, default in (
            ("views", options["views"], 1),
            ("mirror", options["mirror"], None),
            ("components", options["components"], None),
        ):
            if value != default:
                raise ConfigurationError(
                    f"{name} is {value}, which needs a frozen encoder; set freeze_encoder, or "
                    f"leave {name} out",
                    key=name,
                )
        return
    # Both need the encoder in every step: augmented images have new features, and the
    # objective `classes` trains the encoder itself.
    for name, conflicts in (
        ("augment", options["augment"] is not None),
        ("objective=classes", options["objective"] == CLASSES),
    ):
        if conflicts:
            raise ConfigurationError(
                "freeze_encoder encodes each item once, before the first step; leave out "
                f"{name}, or do not freeze the encoder",
                key="freeze_encoder",
            )
