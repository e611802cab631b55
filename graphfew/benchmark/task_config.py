"""`Draw`: a kind of test tasks, as a spec asks for it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.toml import Table
from graphfew.data import Dataset, Tasks
from graphfew.data.int_range import IntOrRange, IntRange
from graphfew.data.query_sampling import QuerySampler, parse_queries
from graphfew.runs.options import parse_ratios


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """What `Tasks` draws, and how many tasks are asked; `table` is where the spec says so."""

    way: IntOrRange
    shot: IntOrRange
    query: QuerySampler
    unlabeled: IntOrRange
    labeled_ratio: tuple[float, ...]
    distractors: IntOrRange
    label_noise: float
    within_groups: bool
    count: int
    table: Table

    def __str__(self) -> str:
        extra = [
            f"{_words(getattr(self, name))} {words}"
            for name, words in (
                ("unlabeled", "unlabeled per class"),
                ("distractors", "distractors"),
            )
            if getattr(self, name) != 0
        ]
        extra += [
            f"labeled {'/'.join(f'{ratio:g}' for ratio in self.labeled_ratio)}"
        ] * self.relabeled
        extra += [f"label noise {self.label_noise:g}"] * bool(self.label_noise) + [
            "within groups"
        ] * self.within_groups
        return ", ".join(
            [f"{_words(self.way)}-way {_words(self.shot)}-shot, queries {self.query}", *extra]
        )

    @property
    def relabeled(self) -> bool:
        """Whether some shots lose their label."""
        return self.labeled_ratio != (1.0,)

    @property
    def has_unlabeled(self) -> bool:
        """Whether a task may have unlabeled items."""
        return self.relabeled or IntRange.of(self.unlabeled).high > 0

    def tasks(self, data: Dataset, seed: int) -> Tasks:
        """Tasks of a data set. Raises ValueError where it cannot give them; the message names file and line."""
        try:
            return Tasks(data, seed=seed, **{name: getattr(self, name) for name in FIELDS})
        except ValueError as error:
            raise self.table.fault(str(error), self.table.meant(str(error))) from error

    def facts(self) -> dict[str, JSON]:
        """What defines the tasks beside data and seed, as JSON values."""
        return {
            name: str(self.query) if name == "query" else getattr(self, name) for name in FIELDS
        }


def read_draws(tables: tuple[Table, ...], count: int) -> tuple[Draw, ...]:
    """Every combination of the lists of each `[[draw]]`. Raises ValueError for what is none."""
    return tuple(draw for table in tables for draw in _combined(table, count))


def matches(draw: Draw, only: Mapping[str, tuple[Any, ...]]) -> bool:
    """Whether a draw passes the filter of a row; `only` is as `read_only` gives it."""
    facts = draw.facts()
    return all(facts[name] in values for name, values in only.items())


def read_only(table: Table) -> dict[str, tuple[Any, ...]]:
    """The filter of a row: for each field the values that it takes. Raises ValueError for what is none."""
    table.allow(FIELDS)
    read = {
        name: tuple(_value(table, name, value) for value in table.several(name, None))
        for name in table.content
    }
    return {
        name: tuple(str(value) if isinstance(value, QuerySampler) else value for value in values)
        for name, values in read.items()
    }


def _combined(table: Table, count: int) -> Iterator[Draw]:
    table.allow((*FIELDS, "tasks"))
    own = table.number("tasks", count, 2)
    values = [
        tuple(_value(table, name, value) for value in table.several(name, default))
        for name, (_, default) in FIELDS.items()
    ]
    for combination in itertools.product(*values):
        yield Draw(**dict(zip(FIELDS, combination, strict=True)), count=own, table=table)


def _value(table: Table, name: str, value: object) -> Any:
    reader, _ = FIELDS[name]
    try:
        return reader(name, value)
    except (TypeError, ValueError) as error:
        raise table.fault(str(error), name) from error


def _spanned(least: int) -> Callable[[str, object], IntOrRange]:
    def read(name: str, value: object) -> IntOrRange:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeError(
                f'{name} is {value!r}; give a whole number such as 5, or a range such as "5-20"'
            )
        parsed = IntRange.parse(str(value), name=name)
        IntRange.of(parsed, name=name, minimum=least)
        return parsed.low if parsed.is_constant else (parsed.low, parsed.high)

    return read


def _queries(name: str, value: object) -> QuerySampler:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(
            f'{name} is {value!r}; give a whole number such as 5, or text such as "dirichlet:75:2.0"'
        )
    return parse_queries(str(value))


def _shares(name: str, value: object) -> tuple[float, ...]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{name} is {value!r}; give a share such as 0.2")
    given = parse_ratios(str(value))
    if not all(0 < ratio <= 1 for ratio in given):
        raise ValueError(f"{name} is {value!r}; it must be above 0 and at most 1")
    return given


def _noise(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{name} is {value!r}; give a number from 0 to below 1")
    return float(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; give true or false")
    return value


def _words(value: IntOrRange) -> str:
    return str(IntRange.of(value))


FIELDS: Mapping[str, tuple[Callable[[str, object], Any], object]] = {
    "way": (_spanned(2), 5),
    "shot": (_spanned(1), 1),
    "query": (_queries, 5),
    "unlabeled": (_spanned(0), 0),
    "labeled_ratio": (_shares, 1.0),
    "distractors": (_spanned(0), 0),
    "label_noise": (_noise, 0.0),
    "within_groups": (_flag, False),
}
