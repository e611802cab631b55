"""`Cell`: one row, in one mode, on one kind of tasks, from one seed; its key is all that its figure hangs on."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.method_config import MODES, Row
from graphfew.benchmark.records import FORMAT
from graphfew.benchmark.spec import Spec, start_seed
from graphfew.benchmark.task_config import Draw
from graphfew.benchmark.training_config import Training
from graphfew.methods.registry import find_method
from graphfew.runs import TrainConfig
from graphfew.runs.option_catalog import LOCATION_OPTIONS

# Where and how a training runs, not what it computes; its start is told by the whole chain.
NEUTRAL = (*LOCATION_OPTIONS, "save_every", "init_encoder")


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One figure of a benchmark.

    Shapes:
        seed: of the training; None where nothing was trained, or several trainings stand behind it together.
        transductive: the mode asked for; None is as it was trained, or the method's default.
        drop_unlabeled: whether unlabeled items are dropped.
        count: number of tasks.
        key: SHA-256 of all that the figure hangs on.
    """

    spec: Spec
    row: Row
    seed: int | None
    transductive: bool | None
    drop_unlabeled: bool
    draw: Draw
    count: int
    key: str

    def __str__(self) -> str:
        mode = [name for name, value in MODES.items() if value is self.transductive]
        dropped = ["unlabeled dropped"] * self.drop_unlabeled
        seed = [] if self.seed is None else [f"seed {self.seed}"]
        return f"{', '.join([self.row.name, *mode, *dropped, *seed])}: {self.draw}"


def cells(spec: Spec, most: int | None = None, only: Collection[str] = ()) -> tuple[Cell, ...]:
    """The cells of a spec, those of one checkpoint together.

    Args:
        spec: the benchmark.
        most: at most so many tasks in each.
        only: names of the rows wanted; all where it is empty.
    """
    found: dict[str, Cell] = {}
    for row in spec.rows:
        seeds = (
            spec.training(row.trainings[0]).seeds if row.trainings and not row.together else (None,)
        )
        for seed, mode, drop, draw in itertools.product(seeds, row.modes, row.drop, spec.draws):
            if row.takes(draw) and (not only or row.name in only):
                count = draw.count if most is None else min(most, draw.count)
                # Where nothing is unlabeled, nothing is dropped.
                cell = _cell(spec, row, seed, mode, drop and draw.has_unlabeled, draw, count)
                found.setdefault(cell.key, cell)
    return tuple(found.values())


def chain(spec: Spec, name: str, seed: int) -> tuple[tuple[Training, int], ...]:
    """The trainings behind a checkpoint with their seeds, the first one first."""
    training = spec.training(name)
    before = chain(spec, training.start, start_seed(spec, training, seed)) if training.start else ()
    return (*before, (training, seed))


def chains(spec: Spec, row: Row, seed: int | None) -> tuple[tuple[tuple[Training, int], ...], ...]:
    """The chain behind each checkpoint that a row reads; of several seeds where it reads them together."""
    if seed is not None:
        return tuple(chain(spec, name, seed) for name in row.trainings)
    return tuple(
        chain(spec, name, own) for name in row.together for own in spec.training(name).seeds
    )


def options(config: TrainConfig) -> dict[str, JSON]:
    """What a training computes: the options that are not the defaults, so that a later option changes no key."""
    usual = TrainConfig(config.method, config.data).to_options()
    named = {"method": config.method, "data": config.data}
    return {
        **named,
        **{
            name: value
            for name, value in config.to_options().items()
            if name not in NEUTRAL and value != usual[name]
        },
    }


def plain(value: Any) -> Any:
    """JSON values as JSON can hold them: numbers that are not finite become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def hashed(facts: Mapping[str, Any]) -> str:
    """SHA-256 of facts as canonical JSON."""
    text = json.dumps(plain(facts), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _cell(
    spec: Spec, row: Row, seed: int | None, mode: bool | None, drop: bool, draw: Draw, count: int
) -> Cell:
    source = spec.source
    behind = [step for steps in chains(spec, row, seed) for step in steps]
    facts = {
        "format": FORMAT,
        "row": row.name,
        "assumes": row.assumes,
        "mode": _mode(spec, row, mode),
        "drop_unlabeled": drop,
        "draw": draw.facts(),
        "tasks": count,
        "seed": spec.seed,
        "data": {
            "name": source.test_name,
            "split": source.test,
            "arguments": source.test_arguments,
        },
        "training": [options(training.config(number)) for training, number in behind],
        "method": None if row.train else {"name": row.method, "arguments": row.arguments},
        **({"together": row.together} if row.together else {}),
        **({"views": row.views} if row.views > 1 else {}),
        **({"mirror": row.mirror} if row.mirror is not None else {}),
    }
    return Cell(spec, row, seed, mode, drop, draw, count, hashed(facts))


def _mode(spec: Spec, row: Row, asked: bool | None) -> bool | None:
    """The mode that is meant where none is asked, so that saying it changes no key."""
    method = find_method(row.method)
    if not (method.inductive and method.transductive):
        return method.transductive
    trained = spec.training(row.train).options if row.train else {}
    own = {**row.arguments, **trained.get("arguments", {})}
    default = inspect.signature(method.factory).parameters["transductive"].default
    choices = (asked, trained.get("transductive"), own.get("transductive"), default)
    return next((choice for choice in choices if choice is not None), None)
