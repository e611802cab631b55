"""The trainings of a benchmark, each run once per seed with the options of `TrainConfig`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, create_model, field_validator

from graphfew.benchmark.spec_fields import (
    Arguments,
    DatasetName,
    FileName,
    MethodName,
    OneOrMore,
    Seed,
    SpecModel,
)
from graphfew.errors import ConfigurationError
from graphfew.runs import Option, training_options

# Set by the runner: the seed from `seeds`, the others from the command line and from `init_from`.
RESERVED = ("seed", "device", "root", "init_encoder")


def _number_to_text(value: Any) -> Any:
    """Allow `way = 5` for options that are text because they may also be a range."""
    # The text of a number must not depend on how it is written: 1.0 and 1 are one option.
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _spec_type(option: Option) -> Any:
    if option.type is dict:
        return Arguments
    if option.type is str:
        return Annotated[str, BeforeValidator(_number_to_text)]
    return option.type


# Underscores keep names such as `validate` apart from those of pydantic.
_FIELDS: dict[str, Any] = {
    f"{name}_": (_spec_type(option), Field(None, alias=name))
    for name, option in training_options().items()
    if name not in (*RESERVED, "method", "data")
}
# Generated from the options of `TrainConfig`: a new option is available in specs at once, with
# its type. None only marks the absence of a key.
_TrainingOptions: Any = create_model("_TrainingOptions", __base__=SpecModel, **_FIELDS)


class TrainingConfig(_TrainingOptions):  # type: ignore[misc]
    """An entry of `[[train]]`.

    Attributes:
        name: of the training; the method's name by default.
        seeds: one run for each.
        init_from: the name of an earlier training whose best encoder initializes this one, or of a
            pretrained model. `embedding` may name the same one.
    """

    method: MethodName
    name: FileName = ""
    data: DatasetName | None = None
    seeds: OneOrMore[Seed] = (0,)
    init_from: str | None = None

    @field_validator("seeds")
    @classmethod
    def _reject_duplicates(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ConfigurationError("give each seed once")
        return seeds

    @property
    def options(self) -> dict[str, Any]:
        """The given options of `TrainConfig` and `Schedule` by name."""
        given: dict[str, Any] = {"method": self.method}
        if self.data is not None:
            given["data"] = self.data
        # Only what is given: defaults come from the method and from [data].
        for name, field in type(self).model_fields.items():
            if field.alias is not None and name in self.model_fields_set:
                given[field.alias] = getattr(self, name)
        return given
