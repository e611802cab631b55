"""`Spec`: a benchmark as its TOML file says it, checked as far as can be without its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphfew.benchmark.data_config import Source
from graphfew.benchmark.method_config import Row, check_draws, read_row, untrained_arguments
from graphfew.benchmark.task_config import Draw, read_draws
from graphfew.benchmark.toml import Table, nearest
from graphfew.benchmark.training_config import Training, read_training
from graphfew.methods.registry import create
from graphfew.runs.factory import build_model, choose_loss


@dataclasses.dataclass(frozen=True, eq=False)
class Spec:
    """A benchmark.

    Shapes:
        path: its file; digest: the file's SHA-256.
        name: of its results file and of the folder of its runs.
        compare_with: the row that paired differences are taken to.
        seed: of the test tasks; batch: tasks evaluated together.
    """

    path: Path
    digest: str
    name: str
    title: str
    about: str
    compare_with: str
    source: Source
    seed: int
    batch: int
    trainings: tuple[Training, ...]
    draws: tuple[Draw, ...]
    rows: tuple[Row, ...]
    table: Table

    def training(self, name: str) -> Training:
        """The entry of that name."""
        return next(training for training in self.trainings if training.name == name)


def read_episodes(table: Table, source: Source, named: Mapping[str, Any]) -> Spec:
    """The spec of a file of kind "episodes".

    Args:
        table: the whole file.
        source: its data.
        named: path, digest, name, title and about.

    Raises:
        ValueError: the first fault, with file and line: an unknown key or name, a value of the wrong type or out of
            range, a row whose method is not made for what is asked.
    """
    test = table.table("test")
    test.allow(("tasks", "seed", "batch"))
    trainings: tuple[Training, ...] = ()
    for entry in table.tables("train"):
        trainings += (read_training(entry, source, tuple(known.name for known in trainings)),)
    draws = read_draws(table.some("draw"), test.number("tasks", 1000, 2))
    rows = tuple(
        read_row(entry, {known.name: known for known in trainings}) for entry in table.some("row")
    )
    spec = Spec(
        **named,
        compare_with=table.text("compare_with", rows[0].name),
        source=source,
        seed=test.number("seed", 0, 0),
        batch=test.number("batch", 16, 1),
        trainings=trainings,
        draws=draws,
        rows=rows,
        table=table,
    )
    _check(spec)
    return spec


def _check(spec: Spec) -> None:
    for number, row in enumerate(spec.rows):
        for other in spec.rows[:number]:
            _check_apart(spec, other, row)
    names = [row.name for row in spec.rows]
    if spec.compare_with not in names:
        raise spec.table.fault(
            f"compare_with is {spec.compare_with!r}, and no [[row]] is called so; "
            f"{nearest(spec.compare_with, names)}",
            "compare_with",
        )
    for training in spec.trainings:
        _check_training(spec, training)
    for row in spec.rows:
        _check_row(spec, row)


def _check_apart(spec: Spec, one: Row, other: Row) -> None:
    """Entries of one name are one line of the tables, each for draws or modes of its own."""
    modes = set(one.modes) & set(other.modes) or None in (*one.modes, *other.modes)
    if one.name != other.name or not modes or not set(one.drop) & set(other.drop):
        return
    both = next((draw for draw in spec.draws if one.takes(draw) and other.takes(draw)), None)
    if both is not None:
        raise other.table.fault(
            f"two entries of [[row]] are called {one.name!r} and are both tested on {both}; give "
            "one another name, or each its own draws with only",
            "name" if "name" in other.table.content else None,
        )


def _check_training(spec: Spec, training: Training) -> None:
    """Build it once, so that every argument is refused now."""
    _check_splits(spec.source, training)
    config = training.config(training.seeds[0])
    try:
        choose_loss(config)
        build_model(config)
    except ValueError as error:
        raise training.fault(str(error)) from error
    for seed in training.seeds if training.start else ():
        start_seed(spec, training, seed)


def _check_splits(source: Source, training: Training) -> None:
    for key in ("split", "validate"):
        split, data = training.options[key], training.options["data"]
        if data == source.test_name and split in (source.test, "all"):
            raise training.fault(
                f"{key} is {split!r} of {data}, and the test is on {source.test!r} of it: the model "
                "would know the test's items; give another split"
            )


def _check_row(spec: Spec, row: Row) -> None:
    trainings = [spec.training(name) for name in row.trainings]
    check_draws(row, spec.draws, trainings[0] if trainings else None)
    if row.train is not None or not trainings:
        return
    try:
        encoder = build_model(trainings[0].config(trainings[0].seeds[0])).encoder
        create(row.method, encoder=encoder, **untrained_arguments(row, row.modes[0]))
    except (ValueError, TypeError) as error:
        raise row.table.fault(f"[[row]] {row.name!r}: {error}") from error


def start_seed(spec: Spec, training: Training, seed: int) -> int:
    """The seed of the training that this one starts from: the same, or the only one. Raises ValueError for neither."""
    first = spec.training(str(training.start))
    if seed in first.seeds:
        return seed
    if len(first.seeds) > 1:
        raise training.table.fault(
            f"[[train]] {training.name!r} has seed {seed} and starts from {first.name!r}, which "
            f"has seeds {list(first.seeds)}; give them the same seeds, or {first.name!r} one",
            "start",
        )
    return first.seeds[0]
