"""The tables of a benchmark, one for each family of modes, before they become HTML or Markdown."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from graphfew._utils.model_spec import JSON
from graphfew.benchmark import Figure, not_below_best
from graphfew.benchmark.protocol import query_name, query_words
from graphfew.benchmark.report.aggregation import Benchmark, Cell
from graphfew.benchmark.report.formatting import count
from graphfew.benchmark.report.published_comparison import Beside, beside

_PLAIN = ("data", "split", "way", "shot", "query", "within_groups", "unlabeled")


@dataclasses.dataclass(frozen=True)
class Column:
    """One kind of tasks.

    Shapes:
        draw: the tasks without their seed, as JSON.
        head: lines of the heading: way and shot, how queries are drawn, what else is special.
        tasks, queries: test tasks, and queries of each, of nearly all its figures; others are marked.
    """

    draw: str
    head: tuple[str, ...]
    tasks: int
    queries: str

    @property
    def title(self) -> str:
        """The heading in one line."""
        return ", ".join(self.head)

    @property
    def counts(self) -> str:
        """Number of tasks and of queries in words."""
        return f"{self.tasks:,} tasks of {self.queries} queries"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One figure of a table.

    Shapes:
        cell: None where there is no result.
        best: not significantly below the best of its column.
        odd: the number of tasks, where it is not the column's, or that they are other tasks.
        published: figures beside it, the most comparable first.
    """

    cell: Cell | None = None
    best: bool = False
    odd: str = ""
    published: tuple[Beside, ...] = ()


@dataclasses.dataclass(frozen=True)
class Line:
    """One row with an entry for each column."""

    name: str
    entries: tuple[Entry, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """All rows of one family of modes."""

    family: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def tables(benchmark: Benchmark, figures: Sequence[Figure] = ()) -> tuple[Table, ...]:
    """A table for each family: inductive first, then by name."""
    families = dict.fromkeys(cell.who.family for cell in benchmark.cells)
    order = sorted(families, key=lambda family: (family != "inductive", family))
    return tuple(
        _table(family, [cell for cell in benchmark.cells if cell.who.family == family], figures)
        for family in order
    )


def columns(cells: Sequence[Cell]) -> tuple[Column, ...]:
    """The kinds of tasks among cells, by way, shot and draw."""
    by_draw: dict[str, list[Cell]] = {}
    for cell in cells:
        by_draw.setdefault(cell.draw, []).append(cell)
    places = {(cell.drawn.get("data"), cell.drawn.get("split")) for cell in cells}
    found = [_column(draw, own, show_place=len(places) > 1) for draw, own in by_draw.items()]
    return tuple(sorted(found, key=lambda column: _order(json.loads(column.draw))))


def usual(cells: Sequence[Cell]) -> str:
    """The tasks that most of a column's cells are of, as text; only cells of the same can be compared."""
    return Counter(cell.which for cell in cells).most_common(1)[0][0]


def _table(family: str, cells: Sequence[Cell], figures: Sequence[Figure]) -> Table:
    heads = columns(cells)
    names = dict.fromkeys(cell.who.row for cell in cells)
    entries = [
        dict(zip(names, _entries(column, names, cells, figures), strict=True)) for column in heads
    ]
    lines = [Line(name, tuple(own[name] for own in entries)) for name in names]
    return Table(family, heads, tuple(sorted(lines, key=_first_mean)))


def _entries(
    column: Column, names: Mapping[str, None], cells: Sequence[Cell], figures: Sequence[Figure]
) -> list[Entry]:
    own = {cell.who.row: cell for cell in cells if cell.draw == column.draw}
    most = usual(list(own.values()))
    alike = {row: cell for row, cell in own.items() if cell.which == most}
    best = dict(
        zip(alike, not_below_best([cell.over.result for cell in alike.values()]), strict=True)
    )
    return [
        Entry(
            own[name],
            best.get(name, False),
            "" if name in alike else _odd(own[name], column),
            beside(own[name], figures),
        )
        if name in own
        else Entry()
        for name in names
    ]


def _odd(cell: Cell, column: Column) -> str:
    return (
        f"{cell.tasks:,} tasks"
        if cell.tasks != column.tasks
        else "other tasks (another seed of them)"
    )


def _first_mean(line: Line) -> tuple[float, ...]:
    return tuple(-entry.cell.over.result.mean if entry.cell else 0.0 for entry in line.entries)


def _column(draw: str, cells: Sequence[Cell], *, show_place: bool) -> Column:
    drawn = json.loads(draw)
    most = usual(cells)
    cell = next(cell for cell in cells if cell.which == most)
    place = [f"{drawn.get('data')}/{drawn.get('split')}"] if show_place else []
    task = [f"{_range(drawn[name])}-{name}" for name in ("way", "shot") if name in drawn]
    asked = [query_words(query_name(str(drawn["query"])))] if "query" in drawn else []
    head = [*([" ".join(task)] if task else []), *asked, *place, *_special(drawn)]
    return Column(draw, tuple(head or [str(drawn.get("data"))]), cell.tasks, count(cell.queries))


def _special(drawn: Mapping[str, JSON]) -> list[str]:
    out = []
    if drawn.get("within_groups"):
        out.append("classes of one group")
    if drawn.get("labeled_ratio") not in (None, 1.0):
        out.append(f"labels on {_range(drawn['labeled_ratio'])} of the shots")
    if drawn.get("unlabeled") not in (None, 0):
        out.append(f"{_range(drawn['unlabeled'])} unlabeled per class")
    named = {"distractors": "{} distractor classes", "label_noise": "label noise {}"}
    out += [words.format(_range(drawn[name])) for name, words in named.items() if drawn.get(name)]
    known = (*_PLAIN, "labeled_ratio", *named)
    return out + [
        f"{name.replace('_', ' ')}: {_range(value)}"
        for name, value in drawn.items()
        if name not in known
    ]


def _order(drawn: Mapping[str, JSON]) -> tuple[object, ...]:
    name = query_name(str(drawn.get("query")))
    kinds = (
        "single",
        "one-per-class",
        "balanced",
        "multinomial",
        "dirichlet",
        "varied",
        "single-class",
    )
    kind = next((i for i, kind in enumerate(kinds) if name.split("(")[0] == kind), len(kinds))
    return (
        str(drawn.get("data")),
        str(drawn.get("split")),
        _number(drawn.get("way")),
        _number(drawn.get("shot")),
        kind,
        _last_number(name),
        json.dumps(dict(drawn), sort_keys=True),
    )


def _last_number(name: str) -> float:
    digits = "".join(c if c.isdigit() or c == "." else " " for c in name).split()
    return float(digits[-1].strip(".") or 0) if digits else 0.0


def _number(value: object) -> float:
    return (
        float(value[0] if isinstance(value, list) else value)
        if isinstance(value, int | float | list)
        else 0.0
    )


def _range(value: object) -> str:
    if isinstance(value, list | tuple):
        return "–".join(map(_range, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
