"""`TrainConfig`: the options of a training run, saved as JSON in its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.data.augment import parse_augmentation
from graphfew.data.catalog import TEST_SPLITS
from graphfew.data.int_range import IntRange
from graphfew.data.query_text import parse_queries
from graphfew.errors import ConfigurationError
from graphfew.methods.losses import LOSSES
from graphfew.runs.config_checks import (
    CACTUS,
    CHAML,
    CLASSES,
    LABELED,
    TASKS,
    UMTRA,
    check_combinations,
)
from graphfew.runs.options import (
    MODEL_GROUP,
    TASK_GROUP,
    TRAINING_GROUP,
    VALIDATION_GROUP,
    declare,
    declared_options,
    parse_ratios,
)
from graphfew.runs.schedule import Schedule
from graphfew.runs.update_options import UpdateOptions

QUERY_HELP = (
    "Queries: 5 (per class), 1-15, multinomial:25, dirichlet:75:2.0, single, single-class:75, "
    "one-per-class, varied:1-75, effective:5-10:75 (75 queries of 5 to 10 classes), or several "
    "joined by +."
)


# Fields of `TrainConfig` that are records of options themselves.
RECORDS: Mapping[str, type[Any]] = {"updates": UpdateOptions, "schedule": Schedule}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The options of a training run; see `graphfew train --help`.

    Numbers of classes, shots and items are text: `"5"`, or the range `"5-20"`.

    Attributes:
        method: name of the method.
        data: name of the data set.
        root: folder of the data set's archives; None for the default.
        data_arguments: keyword arguments of the data set's loader.
        split: split to train on.
        way: classes per task.
        shot: labeled items per class.
        query: query sampling, such as `"5"` or `"varied:1-75"`.
        unlabeled: unlabeled items per class.
        labeled_ratio: fraction of the shots that keep their label, or several (`"0.2,0.4,1"`).
        distractors: classes outside the task among the unlabeled items.
        label_noise: fraction of support items that are from another class.
        within_groups: take all classes of a task from one group.
        augment: random augmentation of training images (`"affine"`, `"crop:4+flip"`); with
            `tasks="umtra"` that of the copies.
        tasks: source of training tasks: `"labeled"` classes; `"cactus"` or `"umtra"`, which read no
            labels; or `"chaml"`, which repeats hard classes. Validation tasks are always labeled.
        clusters: with `tasks="cactus"`, number of clusters of each partition.
        partitions: with `tasks="cactus"`, number of partitions.
        embedding: with `tasks="cactus"` or `easy_steps`, checkpoint whose encoder embeds the
            items; None for the items' values.
        easy_steps: with `tasks="chaml"`, number of steps with the easiest half of the classes.
        encoder: name of the backbone.
        encoder_arguments: keyword arguments of the backbone.
        arguments: keyword arguments of the method.
        transductive: evaluation mode of the model; None for the method's default.
        init_encoder: checkpoint whose encoder weights are the initial ones.
        freeze_encoder: do not train the encoder; each item is encoded once, before the first step.
        views: with a frozen encoder, average the features of this number of jittered copies.
        mirror: with a frozen encoder, average the features of each image and its mirror image,
            shifted by this number of pixels in each direction.
        components: with a frozen encoder, project normalized features on this number of
            principal components of the training split.
        objective: `"tasks"`; or `"classes"`: the encoder learns to classify `batch` items of the
            split at a time, and is validated through the method on tasks.
        turns: with `"classes"`, each rotation of a class by 90° is a separate class.
        loss: name of the loss; None for the loss of the method's paper.
        device: device of the model.
        validate: split that selects the best checkpoint; never a test split.
        validate_way: as `way`; None for 5, or `way` if the method has a fixed one.
        validate_shot: as `shot`; None for `shot`.
        validate_query: as `query`.
        updates: the update rule.
        schedule: duration, optimizer and validation.

    Raises:
        ConfigurationError: if a value is invalid or options contradict each other.

    Example:
        >>> from graphfew.runs import TrainConfig
        >>> config = TrainConfig.from_options({"method": "egnn", "data": "glyphs", "steps": 100})
        >>> config.way, config.schedule.steps
        ('5', 100)
    """

    method: str = declare(dataclasses.MISSING, "A method of `graphfew methods`.", MODEL_GROUP)
    data: str = declare(dataclasses.MISSING, "A data set of `graphfew data`.", TASK_GROUP)
    root: str | None = declare(
        None, "The folder of the data set's archives.", TASK_GROUP, default_text="$GRAPHFEW_DATA"
    )
    data_arguments: Mapping[str, JSON] = declare(
        dict,
        "An argument of the data set's loader.",
        TASK_GROUP,
        flag="--data-set",
        metavar="KEY=VALUE",
    )
    split: str = declare("train", "The split to train on.", TASK_GROUP)
    # Numbers of items are text, because each may be a range. `parse` only validates it here:
    # the text is what `config.json` stores, and `build` parses it again.
    way: str = declare(
        "5",
        "Classes per task: 5, or a range 5-20.",
        TASK_GROUP,
        parse=partial(IntRange.parse, name="way"),
    )
    shot: str = declare(
        "1",
        "Labeled items per class, or a range.",
        TASK_GROUP,
        parse=partial(IntRange.parse, name="shot"),
    )
    query: str = declare("5", QUERY_HELP, TASK_GROUP, parse=parse_queries)
    unlabeled: str = declare(
        "0",
        "Unlabeled items per class, or a range.",
        TASK_GROUP,
        parse=partial(IntRange.parse, name="unlabeled"),
    )
    labeled_ratio: str = declare(
        "1",
        "Fraction of the shots that keep their label; several with commas.",
        TASK_GROUP,
        parse=parse_ratios,
    )
    distractors: str = declare(
        "0",
        "Classes outside the task among the unlabeled items, or a range.",
        TASK_GROUP,
        parse=partial(IntRange.parse, name="distractors"),
    )
    label_noise: float = declare(
        0.0, "Fraction of support items from another class.", TASK_GROUP, minimum=0
    )
    within_groups: bool = declare(False, "Take all classes of a task from one group.", TASK_GROUP)
    augment: str | None = declare(
        None,
        "Random augmentation of training images: affine, crop:4, flip, color:0.4, or several "
        "joined by +.",
        TASK_GROUP,
        parse=parse_augmentation,
        default_text="none",
        recorded=True,
    )
    tasks: str = declare(
        LABELED,
        "labeled; cactus (classes are clusters) or umtra (an item and its copies), which read no "
        "labels; or chaml (hard classes are repeated).",
        TASK_GROUP,
        choices=(LABELED, CACTUS, UMTRA, CHAML),
    )
    clusters: int = declare(
        500, "With --tasks cactus: clusters of each partition.", TASK_GROUP, minimum=2
    )
    partitions: int = declare(
        10, "With --tasks cactus: partitions of the items.", TASK_GROUP, minimum=1
    )
    embedding: str | None = declare(
        None,
        "With --tasks cactus or --easy-steps: embed the items by the encoder of this checkpoint.",
        TASK_GROUP,
        metavar="CHECKPOINT",
        default_text="the items' values",
    )
    easy_steps: int = declare(
        0,
        "With --tasks chaml: steps with the easiest half of the classes.",
        TASK_GROUP,
        minimum=0,
    )
    encoder: str = declare("conv4", "The backbone.", MODEL_GROUP)
    encoder_arguments: Mapping[str, JSON] = declare(
        dict, "An argument of the encoder.", MODEL_GROUP, flag="--encoder-set", metavar="KEY=VALUE"
    )
    arguments: Mapping[str, JSON] = declare(
        dict, "An argument of the method.", MODEL_GROUP, flag="--set", metavar="KEY=VALUE"
    )
    transductive: bool | None = declare(
        None,
        "Predict all queries of a task jointly, or each alone.",
        MODEL_GROUP,
        flag="--transductive/--inductive",
        default_text="the method's default",
    )
    init_encoder: str | None = declare(
        None,
        "Initialize the encoder from this checkpoint.",
        MODEL_GROUP,
        metavar="CHECKPOINT",
        default_text="random weights",
    )
    freeze_encoder: bool = declare(False, "Train the layers only.", MODEL_GROUP)
    views: int = declare(
        1,
        "With a frozen encoder: jittered copies of each image to average over.",
        MODEL_GROUP,
        minimum=1,
    )
    mirror: int | None = declare(
        None,
        "With a frozen encoder: average over each image and its mirror image, shifted by this "
        "number of pixels.",
        MODEL_GROUP,
        minimum=0,
        default_text="off",
    )
    components: int | None = declare(
        None,
        "With a frozen encoder: project normalized features on this number of principal "
        "components.",
        MODEL_GROUP,
        minimum=1,
        default_text="off",
        recorded=True,
    )
    objective: str = declare(
        TASKS,
        "tasks; or classes: the encoder learns to classify all training classes.",
        TRAINING_GROUP,
        choices=(TASKS, CLASSES),
        recorded=True,
    )
    turns: bool = declare(
        False,
        "With --objective classes: each rotation by 90° is a class of its own.",
        TRAINING_GROUP,
        recorded=True,
    )
    loss: str | None = declare(
        None,
        "node, penalized-node, edge, joint (node and edge), pair, relation, known-nodes or dpgn.",
        TRAINING_GROUP,
        choices=tuple(LOSSES),
        default_text="that of the method's paper",
    )
    device: str = declare("cpu", "Device of the model, such as cuda.", TRAINING_GROUP)
    validate: str = declare("val", "The split that selects the best checkpoint.", VALIDATION_GROUP)
    validate_way: str | None = declare(
        None,
        "As --way.",
        VALIDATION_GROUP,
        parse=partial(IntRange.parse, name="validate_way"),
        default_text="5",
    )
    validate_shot: str | None = declare(
        None,
        "As --shot.",
        VALIDATION_GROUP,
        parse=partial(IntRange.parse, name="validate_shot"),
        default_text="as --shot",
    )
    validate_query: str = declare("5", "As --query.", VALIDATION_GROUP, parse=parse_queries)
    updates: UpdateOptions = dataclasses.field(default_factory=UpdateOptions)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if self.validate in TEST_SPLITS:
            raise ConfigurationError(
                f"validate is {self.validate!r}: a checkpoint selected on the test split makes its "
                "test accuracy meaningless; validate on another split, such as val",
                key="validate",
            )
        if self.freeze_encoder and self.init_encoder is None:
            raise ConfigurationError(
                "freeze_encoder needs a trained encoder; give its checkpoint as init_encoder",
                key="freeze_encoder",
            )
        # Configurations also come from JSON and from Python code, where typer has checked nothing.
        for name, option in declared_options(TrainConfig).items():
            option.check(getattr(self, name))
        # Option names are unique over all records.
        options = {**vars(self), **vars(self.schedule), **vars(self.updates)}
        declared = declared_options(TrainConfig)
        defaults = {name: option.default for name, option in declared.items()}
        check_combinations(options, defaults)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> TrainConfig:
        """Create a configuration from flat options, those of `Schedule` and `UpdateOptions` included.

        Args:
            options: values by name; missing options have their default.

        Returns:
            The configuration.

        Raises:
            ConfigurationError: if `method` or `data` is missing, or an option is unknown or
                invalid.
        """
        # The dataclass itself would raise a TypeError about positional arguments.
        missing = [name for name in ("method", "data") if name not in options]
        if missing:
            raise ConfigurationError(
                f"a new run needs a method and a data set; {' and '.join(missing)} not given",
                key=missing[0],
            )
        known = declared_options(cls)
        # Names are unique over all records, so the name alone decides where a value goes.
        record_of_option = {}
        for field, record in RECORDS.items():
            nested = declared_options(record)
            known.update(nested)
            record_of_option.update(dict.fromkeys(nested, field))
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ConfigurationError(
                f"unknown option {unknown[0]!r}; expected one of {', '.join(known)}", key=unknown[0]
            )
        own: dict[str, Any] = {}
        nested_options: dict[str, dict[str, Any]] = {field: {} for field in RECORDS}
        for name, value in options.items():
            target = nested_options[record_of_option[name]] if name in record_of_option else own
            target[name] = value
        records = {field: RECORDS[field](**values) for field, values in nested_options.items()}
        return cls(**own, **records)

    def to_options(self) -> dict[str, JSON]:
        """Return every option by name, as JSON values; `from_options` reads them back."""
        values = dataclasses.asdict(self)
        nested = [values.pop(field) for field in RECORDS]
        for options in nested:
            values.update(options)
        return values
