"""Records of a results folder as cells: superseded ones left out, training seeds averaged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from graphfew._utils.model_spec import JSON
from graphfew.benchmark import Averaged, Fault, Record, averaged, read
from graphfew.evaluation.accuracy import Result


@dataclasses.dataclass(frozen=True, order=True)
class Who:
    """A line of the tables: what was asked, in which mode, and what it was told of the queries' division."""

    row: str
    mode: str
    assumes: str

    @property
    def family(self) -> str:
        """What it can be compared with at a glance: the mode, and what is assumed."""
        return (
            self.mode
            if self.assumes == "nothing"
            else f"{self.mode}, told that queries are divided evenly"
        )

    def __str__(self) -> str:
        even = "" if self.assumes == "nothing" or self.assumes in self.row else f", {self.assumes}"
        return f"{self.row}{even} ({self.mode})"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One line on one kind of tasks, over all its training seeds.

    Shapes:
        draw: the tasks without their seed, as JSON: cells of one column have the same.
        records: one for each training seed, in order of seeds.
        over: their average.
        left_out: seeds whose tasks are not those of the others.
    """

    who: Who
    draw: str
    records: tuple[Record, ...]
    over: Averaged
    left_out: int = 0

    @property
    def drawn(self) -> Mapping[str, JSON]:
        """What describes the tasks, without their seed."""
        content: Mapping[str, JSON] = json.loads(self.draw)
        return content

    @property
    def tasks(self) -> int:
        """The number of test tasks."""
        return len(self.over.result.per_task)

    @property
    def which(self) -> str:
        """Which tasks: only cells of the same can be compared."""
        return tasks_of(self.over.result)

    @property
    def queries(self) -> float:
        """Queries of one task, in the mean."""
        return self.records[0].decisions / self.tasks

    @property
    def method(self) -> str:
        """The registry's name of the method."""
        return str(self.over.result.model.get("method", self.who.row))


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """The results of one file.

    Shapes:
        name: the spec's.
        cells: in order of their first appearance.
        superseded: records that a later one of the same cell replaces.
        faults: lines that could not be read.
    """

    name: str
    cells: tuple[Cell, ...]
    superseded: int
    faults: tuple[Fault, ...]


def gather(folder: Path) -> tuple[Benchmark, ...]:
    """The benchmarks of a folder's `*.jsonl`, by name.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no results in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder; give the one that `graphfew bench` wrote its results into"
        )
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise ValueError(
            f"{folder} holds no results (no .jsonl); run `graphfew bench` first, or give its --out"
        )
    return tuple(_benchmark(path) for path in paths)


def _benchmark(path: Path) -> Benchmark:
    records, faults = read(path)
    seen: dict[tuple[Who, str, int | None], list[Record]] = {}
    for record in records:
        seen.setdefault((_who(record), draw_of(record), record.seed), []).append(record)
    cells: dict[tuple[Who, str], list[Record]] = {}
    for (who, draw, _), same in seen.items():
        cells.setdefault((who, draw), []).append(current(same))
    return Benchmark(
        path.stem,
        tuple(_cell(*place, own) for place, own in cells.items()),
        len(records) - len(seen),
        faults,
    )


def current(same: Sequence[Record]) -> Record:
    """Of records of one cell, the one that counts: of the newest spec that with most tasks, of these the last.

    A try with fewer tasks does not hide the full result of the same spec.
    """
    newest = [record for record in same if record.spec_hash == same[-1].spec_hash]
    most = max(len(record.result.per_task) for record in newest)
    return [record for record in newest if len(record.result.per_task) == most][-1]


def draw_of(record: Record) -> str:
    """What describes the record's tasks, without their seed, as JSON."""
    content = {key: value for key, value in record.result.tasks.items() if key != "seed"}
    return json.dumps(content, sort_keys=True)


def tasks_of(result: Result) -> str:
    """Which tasks a result is of: their number, and what describes them, seed included."""
    return f"{len(result.per_task)} {json.dumps(dict(result.tasks), sort_keys=True)}"


def _who(record: Record) -> Who:
    return Who(record.row, str(record.result.mode), record.assumes)


def _cell(who: Who, draw: str, records: Sequence[Record]) -> Cell:
    kinds: dict[str, list[Record]] = {}
    for record in records:
        kinds.setdefault(tasks_of(record.result), []).append(record)
    own = max(kinds.values(), key=lambda group: (len(group), len(group[0].result.per_task)))
    own = sorted(own, key=lambda record: -1 if record.seed is None else record.seed)
    return Cell(
        who, draw, tuple(own), averaged([record.result for record in own]), len(records) - len(own)
    )
