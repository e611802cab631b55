"""The rows of a benchmark's tables: trained checkpoints, or methods that need no training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from graphfew import backbones
from graphfew.benchmark.spec_fields import (
    Arguments,
    Count,
    MethodName,
    OneOrMore,
    SpecModel,
    suggest,
)
from graphfew.benchmark.task_config import TaskFilter
from graphfew.errors import ConfigurationError
from graphfew.methods.registry import create, find_method
from graphfew.runs import TrainConfig
from graphfew.runs.factory import method_arguments

ModeName = Literal["inductive", "transductive"]
ClassBalance = Literal["nothing", "balanced"]


class MethodConfig(SpecModel):
    """An entry of `[[row]]`.

    Attributes:
        name: of the row; by default that of the training or of the method.
        train: the training whose checkpoints are evaluated; else `method` is given.
        method: of the registry; that of the training if `train` is given.
        encoder_from: the training whose encoder the method uses. Without it and without
            `encoders_from` the method uses the data's own features.
        encoders_from: trainings whose encoders, of all seeds, are concatenated for the method.
        arguments: of a method that is not trained.
        mode: by default as trained, or the method's default.
        drop_unlabeled: whether unlabeled items are dropped.
        views: features are averaged over this number of random affine copies of each image.
        mirror: features are averaged over each image and its mirror, shifted by this number of
            pixels; None averages nothing.
        assumes: what the method assumes about the class balance of the queries.
        only: evaluate on matching tasks only.
    """

    name: str = ""
    train: str | None = None
    method: MethodName = ""
    encoder_from: str | None = None
    # Empty if absent, but at least one if given.
    encoders_from: OneOrMore[str] = Field(default=(), validate_default=False)
    arguments: Arguments = Field(default_factory=dict)
    mode: OneOrMore[ModeName] = Field(default=(), validate_default=False)
    drop_unlabeled: OneOrMore[bool] = (False,)
    views: int = Field(default=1, ge=1)
    mirror: Count | None = None
    assumes: ClassBalance = "nothing"
    only: TaskFilter = TaskFilter()

    @model_validator(mode="after")
    def _check_origin(self) -> MethodConfig:
        if (self.train is None) == (not self.method):
            raise ConfigurationError("give either train, the name of a training, or method")
        if self.encoder_from is not None and self.encoders_from:
            raise ConfigurationError(
                "give either encoder_from, one training, or encoders_from, several"
            )
        for key in ("encoder_from", "encoders_from", "arguments"):
            if self.train is not None and key in self.model_fields_set:
                raise ConfigurationError(
                    f"{key} is for untrained methods; set it in [[train]] {self.train!r}"
                )
        return self

    @field_validator("arguments")
    @classmethod
    def _check_arguments(cls, arguments: dict[str, Any], info: Any) -> dict[str, Any]:
        # The method is missing here if it is invalid or given by `train`; both have their own
        # error.
        check_method_arguments(info.data.get("method", ""), arguments)
        return arguments

    @property
    def trainings(self) -> tuple[str, ...]:
        """The names of the trainings that the row depends on."""
        if self.encoders_from:
            return tuple(dict.fromkeys(self.encoders_from))
        name = self.train or self.encoder_from
        return (name,) if name else ()

    @property
    def modes(self) -> tuple[bool | None, ...]:
        """Transductive or not, for each mode; None keeps the default."""
        # Repeated values would be evaluated twice under one hash.
        return tuple(dict.fromkeys(mode == "transductive" for mode in self.mode)) or (None,)

    @property
    def drops(self) -> tuple[bool, ...]:
        """The values of `drop_unlabeled` without repetitions."""
        return tuple(dict.fromkeys(self.drop_unlabeled))

    def factory_arguments(self, transductive: bool | None) -> dict[str, Any]:
        """Return the arguments of an untrained method, or raise ConfigurationError."""
        config = TrainConfig(
            self.method, "none", arguments=self.arguments, transductive=transductive
        )
        return method_arguments(config)


def check_method_arguments(method: str, arguments: dict[str, Any]) -> None:
    """Raise ConfigurationError for an argument that the method's factory does not take."""
    known = find_method(method).argument_names if method else ()
    for name in arguments:
        if name not in known:
            raise ConfigurationError(f"unknown argument {name!r}; {suggest(name, known)}")


def needs_trained_weights(name: str) -> bool:
    """Return whether a method has weights besides its encoder's that must be trained to be useful."""
    method = find_method(name)
    if method.loss is None or method.works_untrained:
        return False
    # Any size will do, since it does not decide whether there are weights.
    sizes = {"way": 5} if method.fixed_way else {}
    if method.fixed_shot:
        sizes["shot"] = 1
    model = create(name, encoder=backbones.identity(8), **sizes)
    return any(parameter.requires_grad for parameter in model.parameters())
