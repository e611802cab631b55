"""`SemiSupervisedBenchmark`: `FewShotClassifier` on a few labels and many unlabeled items."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from graphfew.benchmark.method_config import (
    ClassBalance,
    check_method_arguments,
    needs_trained_weights,
)
from graphfew.benchmark.spec import BenchmarkSpec
from graphfew.benchmark.spec_fields import (
    Arguments,
    Count,
    Entries,
    MethodName,
    OneOrMore,
    Seed,
    SettingsFilter,
    SpecModel,
)
from graphfew.errors import ConfigurationError
from graphfew.methods.registry import find_method


@dataclasses.dataclass(frozen=True)
class LabelBudget:
    """Number of classes with labels, labels per such class, and unlabeled items per class."""

    way: int
    shot: int
    unlabeled: int

    def __str__(self) -> str:
        return f"{self.way}-way {self.shot}-shot, {self.unlabeled} unlabeled items per class"


class BudgetFilter(SettingsFilter):
    """Values of label budgets; None leaves a number open."""

    way: OneOrMore[int] | None = None
    shot: OneOrMore[int] | None = None
    unlabeled: OneOrMore[int] | None = None


class SamplingConfig(SpecModel):
    """The table `[semi_supervised]`: every combination of its numbers is a `LabelBudget`.

    Attributes:
        repeats: how often labels and unlabeled items are drawn.
        seed: of the first repeat; each later one adds 1.
        out_of_scope: also measure the AUROC of in-scope against out-of-scope items.
    """

    way: OneOrMore[Annotated[int, Field(ge=2)]]
    shot: OneOrMore[Annotated[int, Field(ge=1)]] = (1,)
    unlabeled: OneOrMore[Count] = (0,)
    repeats: int = Field(default=10, ge=2)
    seed: Seed = 0
    out_of_scope: bool = False

    def budgets(self) -> Iterator[LabelBudget]:
        """Yield the combinations."""
        for numbers in itertools.product(self.way, self.shot, self.unlabeled):
            yield LabelBudget(*numbers)


class ClassifierConfig(SpecModel):
    """An entry of `[[row]]`: arguments of `FewShotClassifier`.

    Attributes:
        unlabeled: whether the classifier is fitted with the unlabeled items.
        assumes: what the method assumes about the class balance of the unlabeled items.
        only: evaluate on matching budgets only.
    """

    name: str = ""
    method: MethodName
    arguments: Arguments = Field(default_factory=dict)
    head: MethodName | None = None
    head_arguments: Arguments = Field(default_factory=dict)
    unlabeled: bool = True
    assumes: ClassBalance = "nothing"
    only: BudgetFilter = BudgetFilter()

    @field_validator("method", "head")
    @classmethod
    def _reject_trainable(cls, name: str | None) -> str | None:
        if name is not None and needs_trained_weights(name):
            raise ConfigurationError(
                "it has weights that must be trained; give a method without training"
            )
        return name

    @field_validator("arguments", "head_arguments")
    @classmethod
    def _check_arguments(cls, arguments: dict[str, Any], info: Any) -> dict[str, Any]:
        key = "method" if info.field_name == "arguments" else "head"
        check_method_arguments(info.data.get(key) or "", arguments)
        return arguments

    @model_validator(mode="after")
    def _check_unlabeled(self) -> ClassifierConfig:
        if self.unlabeled and not find_method(self.method).unlabeled:
            raise ConfigurationError(
                f"{self.method} does not use unlabeled items; set unlabeled = false"
            )
        return self


class SemiSupervisedBenchmark(BenchmarkSpec):
    """A benchmark of kind "semi_supervised"."""

    kind: Literal["semi_supervised"]
    sampling: SamplingConfig = Field(alias="semi_supervised")
    methods: Entries[ClassifierConfig] = Field(alias="row", min_length=1)

    def checked(self) -> SemiSupervisedBenchmark:
        """Return the spec with default names, or raise SpecError at the first invalid entry."""
        budgets = list(self.sampling.budgets())
        methods: list[ClassifierConfig] = []
        taken: set[tuple[str, LabelBudget]] = set()
        for index, method in enumerate(self.methods):
            method = method.model_copy(update={"name": method.name or method.method})
            # Entries with one name are allowed if their budgets differ: they form one row of
            # the table.
            matches = {(method.name, budget) for budget in budgets if method.only.matches(budget)}
            if not matches:
                raise self.error("no budget of [semi_supervised] matches", "row", index, "only")
            if matches & taken:
                message = "an earlier row has this name; rename one, or restrict each with only"
                raise self.error(message, "row", index, "name")
            taken |= matches
            methods.append(method)
        texts = self.default_texts([method.name for method in methods])
        return self.model_copy(update={"methods": tuple(methods), **texts})
