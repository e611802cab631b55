"""`PileSpec`: a benchmark of a few labels and a pile of unlabeled items, which `FewShotClassifier` is fitted to."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.data_config import Source
from graphfew.benchmark.experiments import hashed
from graphfew.benchmark.method_config import ASSUMES, learns
from graphfew.benchmark.records import FORMAT
from graphfew.benchmark.toml import Table, nearest
from graphfew.methods.registry import METHODS, find_method

KEYS = ("labels", "size", "known", "draws", "seed", "out_of_scope")
ROW = ("name", "method", "arguments", "head", "head_arguments", "pile", "assumes", "only")
FIELDS = ("known", "labels", "size")


@dataclasses.dataclass(frozen=True)
class Pile:
    """What is fitted: labels per known class, items of the pile per class, and how many classes are known; the pile has
    items of the others too.
    """

    known: int
    labels: int
    size: int

    def __str__(self) -> str:
        return f"{self.known} classes known, {self.labels} labels and {self.size} items of the pile per class"


@dataclasses.dataclass(frozen=True, eq=False)
class PileRow:
    """A setting of `FewShotClassifier`; `pile` is whether it sees the pile, `only` the values of `Pile` it is for."""

    name: str
    method: str
    arguments: Mapping[str, Any]
    head: str | None
    head_arguments: Mapping[str, Any]
    pile: bool
    assumes: str
    only: Mapping[str, tuple[Any, ...]]
    table: Table


@dataclasses.dataclass(frozen=True, eq=False)
class PileSpec:
    """A benchmark of kind "pile".

    Shapes:
        path: its file; digest: the file's SHA-256.
        out_of_scope: whether items of no class are told from the others, as an AUROC.
        draws: how many times labels and pile are drawn; seed: of the first draw, each later one a number above.
    """

    path: Path
    digest: str
    name: str
    title: str
    about: str
    compare_with: str
    source: Source
    seed: int
    draws: int
    out_of_scope: bool
    piles: tuple[Pile, ...]
    rows: tuple[PileRow, ...]
    table: Table


@dataclasses.dataclass(frozen=True, eq=False)
class PileCell:
    """One figure: a row on a pile, over so many draws."""

    spec: PileSpec
    row: PileRow
    pile: Pile
    count: int
    key: str

    def __str__(self) -> str:
        return f"{self.row.name}: {self.pile}"


def read_pile(table: Table, source: Source, named: Mapping[str, Any]) -> PileSpec:
    """The spec of a file of kind "pile".

    Args:
        table: the whole file.
        source: its data.
        named: path, digest, name, title and about.

    Raises:
        ValueError: the first fault, with file and line.
    """
    own = table.table("pile")
    own.allow(KEYS)
    piles = tuple(
        Pile(*values)
        for values in itertools.product(
            _numbers(own, "known", None, 2),
            _numbers(own, "labels", 1, 1),
            _numbers(own, "size", 0, 0),
        )
    )
    rows = tuple(_row(entry, piles) for entry in table.some("row"))
    for number, row in enumerate(rows):
        for other in rows[:number]:
            if other.name == row.name and any(
                _takes(row, pile) and _takes(other, pile) for pile in piles
            ):
                raise row.table.fault(
                    f"two entries of [[row]] are called {row.name!r}; give one another name, or each "
                    "its own classes with only",
                    "name",
                )
    compare = table.choice("compare_with", tuple(row.name for row in rows), rows[0].name)
    return PileSpec(
        **named,
        compare_with=compare,
        source=source,
        seed=own.number("seed", 0, 0),
        draws=own.number("draws", 10, 2),
        out_of_scope=own.flag("out_of_scope"),
        piles=piles,
        rows=rows,
        table=table,
    )


def pile_cells(
    spec: PileSpec, most: int | None = None, only: Collection[str] = ()
) -> tuple[PileCell, ...]:
    """The cells of a spec, at most `most` draws in each, of the rows wanted."""
    return tuple(_cells(spec, most, only))


def pile_facts(pile: Pile) -> dict[str, JSON]:
    """The numbers of a pile by name."""
    return dataclasses.asdict(pile)


def _cells(spec: PileSpec, most: int | None, only: Collection[str]) -> Iterator[PileCell]:
    count = spec.draws if most is None else min(most, spec.draws)
    source = spec.source
    for row in spec.rows:
        for pile in spec.piles:
            if not _takes(row, pile) or (only and row.name not in only):
                continue
            settings = {name: getattr(row, name) for name in ROW if name != "only"}
            facts = {
                "format": FORMAT,
                "kind": "pile",
                "row": settings,
                "pile": pile_facts(pile),
                "draws": count,
                "seed": spec.seed,
                "out_of_scope": spec.out_of_scope,
                "data": {
                    "name": source.name,
                    "train": source.train,
                    "test": source.test,
                    "arguments": source.arguments,
                },
            }
            yield PileCell(spec, row, pile, count, hashed(facts))


def _takes(row: PileRow, pile: Pile) -> bool:
    return all(getattr(pile, name) in values for name, values in row.only.items())


def _numbers(table: Table, key: str, default: int | None, least: int) -> tuple[int, ...]:
    values = table.several(key, table.need(key) if default is None else default)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise table.fault(
                f"{key} in {table.title} is {value!r}; give a whole number, at least {least}", key
            )
    return values


def _row(table: Table, piles: tuple[Pile, ...]) -> PileRow:
    table.allow(ROW)
    method = table.choice("method", tuple(METHODS))
    head = table.choice("head", tuple(METHODS)) if "head" in table.content else None
    arguments, more = (
        _arguments(table, key, name)
        for key, name in (("arguments", method), ("head_arguments", head))
    )
    only = table.table("only")
    only.allow(FIELDS)
    row = PileRow(
        table.text("name", method),
        method,
        arguments,
        head,
        more,
        table.flag("pile", True),
        table.choice("assumes", ASSUMES, "nothing"),
        {key: only.several(key, None) for key in only.content},
        table,
    )
    if not any(_takes(row, pile) for pile in piles):
        raise table.fault(
            f"only in [[row]] {row.name!r} leaves nothing of [pile]; give values that it has",
            "only",
        )
    if row.pile and not find_method(method).unlabeled:
        raise table.fault(
            f"{method} makes no use of unlabeled items; add pile = false to [[row]] {row.name!r}",
            "method",
        )
    for key, name in (("method", method), ("head", head)):
        if name is not None and learns(name):
            raise table.fault(
                f"{name} has weights of its own that must be trained, which a pile does not do; give a "
                "method that needs no training",
                key,
            )
    return row


def _arguments(table: Table, key: str, method: str | None) -> dict[str, Any]:
    given = table.plain(key)
    known = () if method is None else find_method(method).argument_names
    stray = next((name for name in given if name not in known), None)
    if stray is not None:
        raise table.fault(
            f"{method or 'a row without head'} has no argument {stray!r}; {nearest(stray, known)}",
            key,
        )
    return given
