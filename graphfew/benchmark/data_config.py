"""The data of a benchmark: data sets by name, their splits and loader arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from graphfew.benchmark.spec_fields import Arguments, DatasetName, SpecModel, suggest
from graphfew.data import Dataset
from graphfew.data.catalog import loader_arguments
from graphfew.errors import ConfigurationError, DatasetError
from graphfew.runs import load_split

DataRoots = Mapping[str, str]


class DataConfig(SpecModel):
    """The table `[data]`.

    Attributes:
        name: data set of the trainings, and of the test unless `test_name` is given.
        train, validation, test: splits; the first two are the defaults of the trainings.
        arguments: of the loader, without those that equal its defaults.
    """

    name: DatasetName
    train: str = "train"
    validation: str = Field(default="val", alias="validate")
    test: str = "test"
    arguments: Arguments = Field(default_factory=dict)
    test_name: DatasetName | None = None
    test_arguments: Arguments | None = None

    @field_validator("arguments", "test_arguments")
    @classmethod
    def _drop_defaults(cls, arguments: dict[str, Any], info: Any) -> dict[str, Any]:
        name = info.data.get("name")
        if info.field_name == "test_arguments":
            name = info.data.get("test_name") or name
        # An invalid name has its own error.
        if name is None:
            return arguments
        # The arguments are part of the hash: an argument that is written out with its default
        # value must not make another experiment of the same data.
        defaults = loader_arguments(name)
        for key in arguments:
            if key not in defaults:
                hint = suggest(key, defaults)
                raise ConfigurationError(f"{name} has no argument {key!r}; {hint}")
        return {key: value for key, value in arguments.items() if value != defaults[key]}

    @property
    def test_set(self) -> str:
        """The name of the data set of the test."""
        return self.test_name or self.name

    @property
    def test_loader_arguments(self) -> dict[str, Any]:
        """The loader arguments of the test, by default those of the trainings."""
        if self.test_arguments is not None:
            return self.test_arguments
        # Another data set has another loader, so the arguments cannot be inherited.
        return self.arguments if self.test_set == self.name else {}

    @property
    def training_defaults(self) -> dict[str, Any]:
        """Options of `TrainConfig` that trainings have by default."""
        arguments = dict(self.arguments)
        splits = {"split": self.train, "validate": self.validation}
        return {"data": self.name, **splits, "data_arguments": arguments}

    def load(self, split: str, roots: DataRoots, *, test: bool = False) -> Dataset:
        """Load a split of the training data, or of the test data."""
        name = self.test_set if test else self.name
        arguments = self.test_loader_arguments if test else self.arguments
        try:
            return load_split(name, split, roots.get(name), **arguments)
        except (ValueError, TypeError, OSError) as error:
            # Loaders explain over several lines; an error of a spec is one line.
            reason = " ".join(str(error).split())
            raise DatasetError(f"{name}/{split} cannot be read: {reason}") from error
