"""What a training run is asked to do: frozen records, checked where they are made, kept as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from graphfew._utils.model_spec import JSON
from graphfew.data.augment import parse_augment
from graphfew.data.int_range import IntOrRange, IntRange
from graphfew.data.query_sampling import parse_queries
from graphfew.training.loop import adam, adamw, sgd

TEST_SPLITS = ("test", "evaluation")
# Where a run happens, not what it computes: these may differ when it is resumed.
PLACES = ("root", "device")
TASKS, CLASSES = "tasks", "classes"
OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "sgd": sgd,
}
# What JSON may hold for an option of each type.
TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "bool": (bool,),
    "bool | None": (bool, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "Mapping[str, JSON]": (Mapping,),
}
WHOLE = "-whole"
PRECISIONS = ("float32", "bfloat16", f"bfloat16{WHOLE}")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast a model is trained, and when it is looked at.

    Shapes:
        steps: updates in all; 0 only validates, for methods that need no training.
        batch: tasks per step.
        lr: Adam's learning rate at the start.
        halve_every: steps after which the rate is halved; None keeps it.
        weight_decay: Adam's.
        seed: of weights, training tasks and dropout.
        validate_every: steps between validations; the last step is always validated.
        validate_tasks: tasks per validation.
        save_every: steps between saves of `last`; None takes `validate_every`.
        optimizer: adam, adamw or sgd (with Nesterov's momentum of 0.9).
        cosine: the rate falls to 0 at the last step along half a cosine.
        warmup: steps over which the rate is reached.
        average: decay of a running average of the weights, which is then validated and kept; None keeps the last ones.
        patience: validations without a better one after which training stops; None goes on to the last step.
        precision: of products in training: float32; bfloat16, the encoder's; bfloat16-whole, the layers' too.
        recompute: rows of networks of pairs are worked out again backward, for less memory.

    Raises:
        ValueError: a number out of range, or a name that is not known.
    """

    steps: int = 10_000
    batch: int = 32
    lr: float = 1e-3
    halve_every: int | None = None
    weight_decay: float = 0.0
    seed: int = 0
    validate_every: int = 500
    validate_tasks: int = 200
    save_every: int | None = None
    optimizer: str = "adam"
    cosine: bool = False
    warmup: int = 0
    average: float | None = None
    patience: int | None = None
    precision: str = "float32"
    recompute: bool = False

    def __post_init__(self) -> None:
        least = {
            "steps": 0,
            "batch": 1,
            "halve_every": 1,
            "seed": 0,
            "validate_every": 1,
            "validate_tasks": 2,
            "save_every": 1,
            "weight_decay": 0,
            "warmup": 0,
            "patience": 1,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:
                raise ValueError(f"{name} is {value}; it must be at least {bound}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr is {self.lr}; it must be positive and finite")
        if self.cosine and self.halve_every is not None:
            raise ValueError(
                f"cosine is set and halve_every is {self.halve_every}; give one way for the rate to fall"
            )
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(
                f"average is {self.average}; a decay lies between 0 and 1, such as 0.999"
            )
        for name, known in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; known: {', '.join(known)}")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that `graphfew train` can be asked, numbers of tasks as text ("5", "5-20", "varied:1-75").

    Shapes:
        labeled_ratio: a share of the shots, or several with commas between them ("0.2,0.4,1").
        label_noise: the share of supports that are of another class, of training and validation tasks.
        validate: the split that chooses the best checkpoint; never a test split.
        arguments: of the method; encoder_arguments: of the encoder.
        transductive: None takes the method's own default.
        loss: None takes the registry's loss of the method.
        validate_way, validate_shot: None takes 5 (a method of fixed way: `way`) and `shot`.
        init_encoder: a checkpoint whose encoder weights are the start.
        freeze_encoder: keep those weights as they are; every item is then encoded once, before the first step.
        objective: what is learned: `tasks`, or `classes`: the encoder learns to tell all classes of the split apart,
            `batch` items at a time, and is validated through the method on tasks.
        augment: changes training images at random ("affine", "crop:4+flip"); None leaves them.
        turns: with `classes`, every quarter turn of a class counts as a class of its own.
        views: with a frozen encoder, features are averaged over so many jittered copies of each image.
        mirror: with a frozen encoder, features are averaged over each image and its mirror, as they are and moved by so
            many pixels each way.
        components: with a frozen encoder, features are brought to one length and turned to so many principal components
            of the training split's; None leaves them as they are.
        data_arguments: of the data set's loader, such as its size.

    Raises:
        ValueError: a number of tasks that cannot be read, a test split to select on, or options that do not go
            together.
    """

    method: str
    data: str
    root: str | None = None
    split: str = "train"
    validate: str = "val"
    way: str = "5"
    shot: str = "1"
    query: str = "5"
    unlabeled: str = "0"
    labeled_ratio: str = "1"
    distractors: str = "0"
    label_noise: float = 0.0
    within_groups: bool = False
    encoder: str = "conv4"
    encoder_arguments: Mapping[str, JSON] = dataclasses.field(default_factory=dict)
    arguments: Mapping[str, JSON] = dataclasses.field(default_factory=dict)
    transductive: bool | None = None
    loss: str | None = None
    validate_way: str | None = None
    validate_shot: str | None = None
    validate_query: str = "5"
    init_encoder: str | None = None
    freeze_encoder: bool = False
    objective: str = TASKS
    augment: str | None = None
    turns: bool = False
    views: int = 1
    mirror: int | None = None
    components: int | None = None
    data_arguments: Mapping[str, JSON] = dataclasses.field(default_factory=dict)
    device: str = "cpu"
    schedule: Schedule = dataclasses.field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if self.validate in TEST_SPLITS:
            raise ValueError(
                f"validate is {self.validate!r}: a checkpoint selected on the test split has seen the "
                "test, and its accuracy there would mean nothing; validate on another split, such as val"
            )
        if self.freeze_encoder and self.init_encoder is None:
            raise ValueError(
                "freeze_encoder keeps an encoder that has learned; give its checkpoint as init_encoder"
            )
        for name in ("way", "shot", "unlabeled", "distractors", "validate_way", "validate_shot"):
            span(name, getattr(self, name) or "0")
        ratios(self.labeled_ratio)
        for query in (self.query, self.validate_query):
            parse_queries(query)
        if self.augment is not None:
            parse_augment(self.augment)
        _check_objective(self)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TrainConfig:
        """From flat options, those of the schedule among them. Raises ValueError where method or data is missing."""
        missing = [name for name in ("method", "data") if name not in options]
        if missing:
            raise ValueError(
                f"a new run needs a method and its data; {' and '.join(missing)} not given"
            )
        names = {field.name for field in dataclasses.fields(Schedule)}
        schedule = Schedule(**{key: value for key, value in options.items() if key in names})
        return cls(
            schedule=schedule, **{key: value for key, value in options.items() if key not in names}
        )

    def flat(self) -> dict[str, JSON]:
        """Every option by name; `TrainConfig.of` reads it back."""
        values = dataclasses.asdict(self)
        schedule = values.pop("schedule")
        return {**values, **schedule}


def checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, as a file holds them. Raises ValueError for a value of another type than the option's."""
    kinds = {
        field.name: str(field.type)
        for of in (TrainConfig, Schedule)
        for field in dataclasses.fields(of)
    }
    for name, value in options.items():
        if not isinstance(value, TYPES.get(kinds.get(name, ""), object)):
            raise ValueError(
                f"{name} is {str(value)[:80]!r}, a {type(value).__name__}; it must be {kinds[name]}"
            )
        if isinstance(value, bool) and "bool" not in kinds.get(name, "bool"):
            raise ValueError(f"{name} is {value}; it must be {kinds[name]}")
    return options


def _check_objective(config: TrainConfig) -> None:
    if config.objective not in (TASKS, CLASSES):
        raise ValueError(f"objective is {config.objective!r}; known: {TASKS}, {CLASSES}")
    if config.objective == CLASSES and config.loss is not None:
        raise ValueError(
            f"loss is {config.loss!r}, but classes are learned by cross-entropy; leave loss out"
        )
    if config.turns and config.objective != CLASSES:
        raise ValueError(
            "turns makes four classes of each for objective=classes; with tasks, take a data set whose "
            "turned images are classes"
        )
    if config.views < 1 or (config.views > 1 and not config.freeze_encoder):
        raise ValueError(
            f"views is {config.views}; copies are averaged (2 or more) where the encoder is frozen: set "
            "freeze_encoder, or leave views at 1"
        )
    if config.mirror is not None and (config.mirror < 0 or not config.freeze_encoder):
        raise ValueError(
            f"mirror is {config.mirror}; give 0 or more pixels, with freeze_encoder, or leave it out"
        )
    if config.components is not None and (config.components < 1 or not config.freeze_encoder):
        raise ValueError(
            f"components is {config.components}; give 1 or more, with freeze_encoder, or leave it out"
        )
    if config.freeze_encoder and (config.augment is not None or config.objective == CLASSES):
        extra = "augment" if config.augment is not None else "objective=classes"
        raise ValueError(
            f"freeze_encoder encodes every item once, before the first step; leave out {extra}, or let "
            "the encoder learn"
        )


def contradictions(config: TrainConfig, options: Mapping[str, Any]) -> list[str]:
    """The options that ask for another run than `config`, each with both values; `PLACES` never do."""
    own = config.flat()
    return [
        f"{name} is {own[name]!r} there and {value!r} here"
        for name, value in options.items()
        if name not in PLACES and own[name] != value
    ]


def span(name: str, text: str) -> IntOrRange:
    """`"5"` is 5 and `"5-20"` is (5, 20). Raises ValueError, with `name`, for anything else."""
    parsed = IntRange.parse(text, name=name)
    return parsed.low if parsed.is_constant else (parsed.low, parsed.high)


def ratios(text: str) -> tuple[float, ...]:
    """`"0.2,1"` is (0.2, 1.0). Raises ValueError for anything but numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"labeled_ratio is {text!r}; give a share such as 0.2, or several such as 0.2,0.4,1"
        ) from error


def settings(pairs: Iterable[str]) -> dict[str, JSON]:
    """`key=value` texts as a dict; a value is JSON where it can be read so, else the text itself.

    Raises:
        ValueError: a text without `=`, or a key given twice.
    """
    out: dict[str, JSON] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ValueError(f"{pair!r} is not of the form key=value")
        if key in out:
            raise ValueError(f"{key} is given twice: {out[key]!r} and {value!r}; give it once")
        out[key] = _value(value)
    return out


def _value(text: str) -> JSON:
    try:
        value: JSON = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value
