"""The test tasks of a benchmark: the settings of `Tasks`, and grids of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, PlainValidator, create_model

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.spec_fields import OneOrMore, SettingsFilter
from graphfew.data import Dataset, Tasks
from graphfew.data.int_range import IntRange
from graphfew.data.query_protocols import QuerySampler
from graphfew.data.query_text import parse_queries
from graphfew.errors import ConfigurationError
from graphfew.runs.options import parse_ratios


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """Settings of `Tasks`, and how many of these tasks are evaluated.

    Attributes:
        n_tasks: number of test tasks.
        entry: index of the `[[tasks]]` entry that they come from.
    """

    way: IntRange
    shot: IntRange
    query: QuerySampler
    unlabeled: IntRange
    labeled_ratio: tuple[float, ...]
    distractors: IntRange
    label_noise: float
    within_groups: bool
    n_tasks: int
    entry: int

    def __str__(self) -> str:
        parts = [f"{self.way}-way {self.shot}-shot", f"queries {self.query}"]
        if self.unlabeled.high:
            parts.append(f"{self.unlabeled} unlabeled per class")
        if self.distractors.high:
            parts.append(f"{self.distractors} distractors")
        if self.labeled_ratio != (1.0,):
            parts.append(f"labeled {'/'.join(f'{ratio:g}' for ratio in self.labeled_ratio)}")
        if self.label_noise:
            parts.append(f"label noise {self.label_noise:g}")
        if self.within_groups:
            parts.append("within groups")
        return ", ".join(parts)

    @property
    def has_unlabeled(self) -> bool:
        """Whether a task may have unlabeled items."""
        return self.labeled_ratio != (1.0,) or self.unlabeled.high > 0

    def create(self, data: Dataset, seed: int) -> Tasks:
        """Return the tasks of a data set. Raises InvalidInputError if it cannot provide them."""
        settings = {name: getattr(self, name) for name in TASK_SETTINGS}
        return Tasks(data, seed=seed, **settings)

    def to_json(self) -> dict[str, JSON]:
        """Return the settings, which define the tasks together with data set and seed."""
        settings: dict[str, JSON] = {}
        for name in TASK_SETTINGS:
            value = getattr(self, name)
            settings[name] = value.to_json() if isinstance(value, IntRange) else value
        # The canonical name: "5" and "balanced:5" are the same tasks and have the same hash.
        settings["query"] = str(self.query)
        return settings


def _int_range(minimum: int) -> Any:
    def parse(value: Any) -> IntRange:
        if isinstance(value, str):
            value = IntRange.parse(value, name="it")
        return IntRange.of(value, name="it", minimum=minimum)

    return Annotated[IntRange, PlainValidator(parse)]


def _query_sampler(value: Any) -> QuerySampler:
    # In Python true is an integer.
    if isinstance(value, bool) or not isinstance(value, int | str):
        hint = 'give a whole number such as 5, or text such as "dirichlet:75:2.0"'
        raise ConfigurationError(hint)
    return parse_queries(str(value))


def _ratios(value: Any) -> tuple[float, ...]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ConfigurationError("give a ratio such as 0.2")
    # Read by the parser of the command line, so that both accept the same forms.
    parsed = parse_ratios(str(value))
    if not all(0 < ratio <= 1 for ratio in parsed):
        raise ConfigurationError("a ratio must be above 0 and at most 1")
    return parsed


# All settings that define tasks, with their types in a spec and their defaults. Grids, filters and
# hashes iterate over this table, so a new setting cannot be forgotten in one of them.
TASK_SETTINGS: dict[str, tuple[Any, Any]] = {
    "way": (_int_range(2), IntRange(5, 5)),
    "shot": (_int_range(1), IntRange(1, 1)),
    "query": (Annotated[QuerySampler, PlainValidator(_query_sampler)], parse_queries("5")),
    "unlabeled": (_int_range(0), IntRange(0, 0)),
    "labeled_ratio": (Annotated[tuple[float, ...], PlainValidator(_ratios)], (1.0,)),
    "distractors": (_int_range(0), IntRange(0, 0)),
    "label_noise": (Annotated[float, Field(ge=0, lt=1)], 0.0),
    "within_groups": (bool, False),
}
# A variable, because a type checker does not accept a computed type.
_grid: Any = OneOrMore
_FIELDS: Any = {name: (_grid[kind] | None, None) for name, (kind, _) in TASK_SETTINGS.items()}
_TaskFilter: Any = create_model("_TaskFilter", __base__=SettingsFilter, **_FIELDS)


class TaskFilter(_TaskFilter):  # type: ignore[misc]
    """Values of task settings, each one or several; None leaves a setting open."""


class TaskGrid(TaskFilter):
    """An entry of `[[tasks]]`: every combination of its values is a `TaskConfig`."""

    n_tasks: int | None = Field(default=None, ge=2)

    def expand(self, entry: int, default_n_tasks: int) -> Iterator[TaskConfig]:
        """Yield the combinations; settings that are not given have their defaults."""
        values = [getattr(self, name) or (default,) for name, (_, default) in TASK_SETTINGS.items()]
        for combination in itertools.product(*values):
            settings = dict(zip(TASK_SETTINGS, combination, strict=True))
            yield TaskConfig(**settings, n_tasks=self.n_tasks or default_n_tasks, entry=entry)
