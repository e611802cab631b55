"""`Row`: a line of the tables, which is a training's checkpoints, or a method that is asked as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from graphfew import backbones
from graphfew.benchmark.task_config import Draw, matches, read_only
from graphfew.benchmark.toml import Table, nearest
from graphfew.benchmark.training_config import Training
from graphfew.methods.registry import METHODS, create, find_method
from graphfew.runs import TrainConfig, check_mode
from graphfew.runs.factory import method_arguments

KEYS = (
    "name",
    "train",
    "method",
    "on",
    "together",
    "arguments",
    "mode",
    "drop_unlabeled",
    "views",
    "mirror",
    "assumes",
    "only",
)
MODES = {"inductive": False, "transductive": True}
ASSUMES = ("nothing", "even")


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A line of the tables.

    Shapes:
        train: the training whose checkpoints it is; None where a method is asked as it is.
        method: of the registry; the training's own where there is one.
        on: the training whose encoder the method is asked on; with neither it nor `together` it is asked on the data's
            own features.
        together: the trainings whose encoders, those of all their seeds, the method is asked on, their features side by
            side.
        arguments: of the method asked as it is.
        modes: None is as it was trained, or the method's default.
        drop: whether unlabeled items are dropped.
        views: features are averaged over so many jittered copies of each image.
        mirror: features are averaged over each image and its mirror, moved by so many pixels; None does not.
        assumes: what the method is told of how queries are divided among classes.
        only: the values of draws that it is tested on, by field.
        table: where the spec says so.
    """

    name: str
    train: str | None
    method: str
    on: str | None
    together: tuple[str, ...]
    arguments: Mapping[str, Any]
    modes: tuple[bool | None, ...]
    drop: tuple[bool, ...]
    views: int
    mirror: int | None
    assumes: str
    only: Mapping[str, tuple[Any, ...]]
    table: Table

    @property
    def trainings(self) -> tuple[str, ...]:
        """The trainings that it needs, if any."""
        return self.together or tuple(name for name in (self.train, self.on) if name is not None)

    def takes(self, draw: Draw) -> bool:
        """Whether it is tested on these tasks."""
        return matches(draw, self.only)


def read_row(table: Table, trainings: Mapping[str, Training]) -> Row:
    """An entry of `[[row]]`. Raises ValueError, with file and line, for what is none."""
    table.allow(KEYS)
    train, on = (_named(table, key, trainings) for key in ("train", "on"))
    together = _together(table, trainings)
    if (train is None) == ("method" not in table.content):
        raise table.fault(
            "a [[row]] has either train, the name of a [[train]], or method, a method asked as it is"
        )
    if train is not None:
        for key in ("on", "together", "arguments"):
            if key in table.content:
                raise table.fault(
                    f"{key} in [[row]] is for a method asked as it is; a row of trained checkpoints has "
                    f"its own; write it in [[train]] {train!r}",
                    key,
                )
    method = (
        str(trainings[train].options["method"]) if train else table.choice("method", tuple(METHODS))
    )
    row = Row(
        table.text("name", train or method),
        train,
        method,
        on,
        together,
        table.plain("arguments"),
        _modes(table, method),
        _drops(table),
        table.number("views", 1, 1),
        _mirror(table),
        table.choice("assumes", ASSUMES, "nothing"),
        read_only(table.table("only")),
        table,
    )
    if train is None:
        _check_untrained(row)
    return row


def untrained_arguments(row: Row, transductive: bool | None) -> dict[str, Any]:
    """The arguments of the factory of a method asked as it is. Raises ValueError as `method_arguments` does."""
    return method_arguments(
        TrainConfig(row.method, "none", arguments=row.arguments, transductive=transductive)
    )


def check_draws(row: Row, draws: Sequence[Draw], training: Training | None) -> None:
    """Raises ValueError where the row is asked tasks that its method is not made for."""
    asked = [draw for draw in draws if row.takes(draw)]
    if not asked:
        raise row.table.fault(
            f"only in [[row]] {row.name!r} leaves none of the draws; give values that [[draw]] has",
            "only",
        )
    for draw in asked:
        if draw.has_unlabeled and not find_method(row.method).unlabeled and False in row.drop:
            raise row.table.fault(
                f"{row.method} makes no use of unlabeled items and [[draw]] has some; add "
                f"drop_unlabeled = true to [[row]] {row.name!r}, or only = {{ unlabeled = [0] }}"
            )
        if row.train is not None and training is not None:
            _check_fixed(row, draw, training)


def _check_fixed(row: Row, draw: Draw, training: Training) -> None:
    config = training.config(training.seeds[0])
    method = find_method(row.method)
    for key, fixed in (("way", method.fixed_way), ("shot", method.fixed_shot)):
        own = int(str(method_arguments(config).get(key, 0))) if fixed else 0
        if fixed and getattr(draw, key) != own:
            raise row.table.fault(
                f"[[row]] {row.name!r}: {row.method} was trained for {key} {own} and [[draw]] asks "
                f"for {getattr(draw, key)}; add only = {{ {key} = [{own}] }}"
            )


def _named(table: Table, key: str, trainings: Mapping[str, Training]) -> str | None:
    if key not in table.content:
        return None
    return _known(table, key, table.text(key), trainings)


def _known(table: Table, key: str, name: object, trainings: Mapping[str, Training]) -> str:
    if name not in trainings:
        raise table.fault(
            f"{key} in [[row]] is {name!r}, and no [[train]] is called so; "
            f"{nearest(str(name), trainings)}",
            key,
        )
    return str(name)


def _together(table: Table, trainings: Mapping[str, Training]) -> tuple[str, ...]:
    if "together" not in table.content:
        return ()
    if "on" in table.content:
        raise table.fault(
            "a [[row]] has either on, one training's encoder, or together, those of several; name them "
            "all in together",
            "together",
        )
    names = table.several("together", None)
    return tuple(dict.fromkeys(_known(table, "together", name, trainings) for name in names))


def _modes(table: Table, method: str) -> tuple[bool | None, ...]:
    if "mode" not in table.content:
        return (None,)
    modes = table.several("mode", None)
    for mode in modes:
        if mode not in MODES:
            raise table.fault(f"mode in [[row]] is {mode!r}; {nearest(str(mode), MODES)}", "mode")
        try:
            check_mode(method, MODES[mode])
        except ValueError as error:
            raise table.fault(f"mode in [[row]]: {error}", "mode") from error
    return tuple(dict.fromkeys(MODES[mode] for mode in modes))


def _drops(table: Table) -> tuple[bool, ...]:
    given = table.several("drop_unlabeled", False)
    if not all(isinstance(value, bool) for value in given):
        raise table.fault(
            f"drop_unlabeled in [[row]] is {list(given)}; give true, false, or a list of both",
            "drop_unlabeled",
        )
    return tuple(dict.fromkeys(given))


def _mirror(table: Table) -> int | None:
    return table.number("mirror", 0, 0) if "mirror" in table.content else None


def _check_untrained(row: Row) -> None:
    takes = find_method(row.method).argument_names
    stray = sorted(set(row.arguments) - set(takes))
    if stray:
        raise row.table.fault(
            f"{row.method} has no argument {stray[0]!r}; {nearest(stray[0], takes)}", "arguments"
        )
    if not learns(row.method):
        return
    where = (
        f"a [[train]] with start = {row.trainings[0]!r}" if row.trainings else "its own [[train]]"
    )
    raise row.table.fault(
        f"{row.method} has weights of its own that must be trained; give it {where} (steps = 0 tests "
        "it untrained), and name that in train",
        "method",
    )


def learns(name: str) -> bool:
    """Whether the method has weights beside its encoder's."""
    method = find_method(name)
    if method.loss is None:
        return False
    needed = {
        **({"way": 5} if method.fixed_way else {}),
        **({"shot": 1} if method.fixed_shot else {}),
    }
    return any(
        p.requires_grad for p in create(name, encoder=backbones.identity(8), **needed).parameters()
    )
