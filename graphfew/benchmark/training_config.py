"""`Training`: one entry of a spec that is trained once per seed, with the options of `TrainConfig`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from graphfew.benchmark.data_config import Source
from graphfew.benchmark.toml import WORDS, Table, nearest
from graphfew.data import DATASETS
from graphfew.methods.registry import METHODS
from graphfew.runs import Schedule, TrainConfig

OWN = ("name", "seeds", "start")
# Said by the runner: the seed from `seeds`, the others from the command line and from `start`.
RESERVED = ("schedule", "seed", "device", "root", "init_encoder")
SOMEWHERE = "the encoder of an earlier training"


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """What is trained, once per seed.

    Shapes:
        options: of `TrainConfig` and `Schedule` by name, without the seed.
        start: the name of an earlier training whose best encoder is the start.
        table: where the spec says so.
    """

    name: str
    options: Mapping[str, Any]
    seeds: tuple[int, ...]
    start: str | None
    table: Table

    def config(self, seed: int, init_encoder: str = SOMEWHERE) -> TrainConfig:
        """The configuration of one seed. Raises ValueError for options out of range, with file and line."""
        options = {
            **self.options,
            "seed": seed,
            **({"init_encoder": init_encoder} if self.start else {}),
        }
        try:
            return TrainConfig.from_options(options)
        except ValueError as error:
            raise self.fault(str(error)) from error

    def fault(self, message: str) -> ValueError:
        """An error at the key that the message names, else at the entry."""
        return self.table.fault(f"[[train]] {self.name!r}: {message}", self.table.meant(message))


def option_types() -> dict[str, Any]:
    """Every option that an entry may give, with its annotation."""
    hints = {**typing.get_type_hints(TrainConfig), **typing.get_type_hints(Schedule)}
    names = [field.name for kind in (TrainConfig, Schedule) for field in dataclasses.fields(kind)]
    return {name: hints[name] for name in names if name not in RESERVED}


def read_training(table: Table, source: Source, before: tuple[str, ...]) -> Training:
    """An entry of `[[train]]`; `before` are the names of the earlier ones.

    Raises:
        ValueError: what no training can be; the message names file and line.
    """
    known = option_types()
    table.allow((*OWN, *known))
    method = table.choice("method", tuple(METHODS))
    name = table.text("name", method)
    if name in before:
        raise table.fault(
            f"two entries of [[train]] are called {name!r}; give one of them another name", "name"
        )
    given = {key: _option(table, key, known[key]) for key in table.content if key not in OWN}
    usual = {
        "data": source.name,
        "split": source.train,
        "validate": source.validate,
        "data_arguments": dict(source.arguments),
    }
    training = Training(name, {**usual, **given}, _seeds(table), _start(table, before), table)
    _check_names(training)
    training.config(training.seeds[0])
    return training


def _check_names(training: Training) -> None:
    data = training.options["data"]
    if data not in DATASETS:
        raise training.table.fault(
            f"data in [[train]] is {data!r}; {nearest(data, DATASETS)}", "data"
        )
    name = training.name
    if not name or not all(c.isalnum() or c in "-_" for c in name):
        raise training.table.fault(
            f"[[train]] is called {name!r}, which is to be a folder's name; use letters, "
            "digits, - and _",
            "name",
        )


def _seeds(table: Table) -> tuple[int, ...]:
    seeds = table.several("seeds", 0)
    if not all(
        isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds
    ):
        raise table.fault(
            f"seeds in [[train]] is {list(seeds)}; give whole numbers, 0 or more", "seeds"
        )
    if len(set(seeds)) < len(seeds):
        raise table.fault(f"seeds in [[train]] is {list(seeds)}; give each seed once", "seeds")
    return tuple(seeds)


def _start(table: Table, before: tuple[str, ...]) -> str | None:
    if "start" not in table.content:
        return None
    name = table.text("start")
    if name not in before:
        raise table.fault(
            f"start in [[train]] is {name!r}, which is no earlier [[train]]; {nearest(name, before)}",
            "start",
        )
    return name


def _option(table: Table, key: str, annotation: Any) -> Any:
    """The value as the configuration wants it; numbers where it wants text become text."""
    value = table.content[key]
    kinds = _kinds(annotation)
    if dict in kinds:
        return table.plain(key)
    if str in kinds and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kinds and (
        (isinstance(value, bool) and bool not in kinds) or not isinstance(value, tuple(kinds))
    ):
        wanted = " or ".join(WORDS[kind] for kind in WORDS if kind in kinds)
        raise table.fault(f"{key} in [[train]] is {value!r}; give {wanted}", key)
    return value


def _kinds(annotation: Any) -> set[type]:
    """The plain types of an annotation; none where it has others, which only the configuration can judge."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    parts = [
        part
        for part in (typing.get_args(annotation) if union else (annotation,))
        if part is not type(None)
    ]
    kinds = {
        dict
        if typing.get_origin(part) is not None and issubclass(typing.get_origin(part), Mapping)
        else part
        for part in parts
    }
    return kinds if kinds <= set(WORDS) else set()
