"""What plots show: accuracies over shots, over the number of queries, and over how uneven the queries are."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence

from graphfew.benchmark.protocol import query_name, query_words
from graphfew.benchmark.report.aggregation import Cell
from graphfew.benchmark.report.formatting import count

KINDS = ("one-per-class", "balanced", "multinomial", "dirichlet", "single-class")
Place = tuple[float, str]


@dataclasses.dataclass(frozen=True)
class Point:
    """Mean and half width in per cent, at a place of the axis."""

    x: float
    mean: float
    half: float


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot: lines by name over the places of its axis.

    Shapes:
        ticks: places of the axis with their labels, in order.
        lines: best last point first.
        counts: number of tasks and queries, in words.
        category: whether the places are kinds rather than numbers.
    """

    title: str
    axis: str
    ticks: tuple[Place, ...]
    lines: tuple[tuple[str, tuple[Point, ...]], ...]
    counts: str
    category: bool = False


def over_shots(cells: Sequence[Cell]) -> tuple[Panel, ...]:
    """A panel for each kind of tasks that was asked with several shots."""

    def place(cell: Cell) -> tuple[str, Place] | None:
        drawn = dict(cell.drawn)
        shot = drawn.pop("shot", None)
        return (_rest(drawn), (float(shot), str(shot))) if isinstance(shot, int) else None

    return _panels(cells, place, "shots", lambda rest: ", ".join([_task(rest), _words(rest)]))


def over_queries(cells: Sequence[Cell]) -> tuple[Panel, ...]:
    """A panel for each kind of tasks that was asked with several numbers of queries."""

    def place(cell: Cell) -> tuple[str, Place] | None:
        kind, concentration, number = _query(cell)
        drawn = {**cell.drawn, "query": f"{kind} {concentration}".strip()}
        return (_rest(drawn), (number, count(number))) if number is not None else None

    return _panels(
        cells,
        place,
        "queries (per class where balanced, else per task)",
        lambda rest: f"{_task(rest)}, {rest['query']}",
    )


def over_imbalance(cells: Sequence[Cell]) -> tuple[Panel, ...]:
    """A panel for each kind of tasks that was asked with as many queries, evenly and unevenly divided."""

    def place(cell: Cell) -> tuple[str, Place] | None:
        kind, concentration, _ = _query(cell)
        if kind not in KINDS:
            return None
        label = {"dirichlet": f"Dirichlet({concentration})", "single-class": "one class"}.get(
            kind, kind
        )
        drawn = {**cell.drawn, "query": f"{count(cell.queries)} queries"}
        return _rest(drawn), (KINDS.index(kind) - float(concentration or 0) / 1e6, label)

    found = _panels(cells, place, "how the queries are divided", _task)
    return tuple(map(_evenly_spaced, found))


def _panels(
    cells: Sequence[Cell],
    place: Callable[[Cell], tuple[str, Place] | None],
    axis: str,
    title: Callable[[dict[str, object]], str],
) -> tuple[Panel, ...]:
    groups: dict[str, dict[Place, list[Cell]]] = {}
    for cell in cells:
        where = place(cell)
        if where is not None:
            groups.setdefault(where[0], {}).setdefault(where[1], []).append(cell)
    return tuple(
        _panel(title(json.loads(rest)), axis, places)
        for rest, places in groups.items()
        if len(places) > 1
    )


def _panel(title: str, axis: str, places: dict[Place, list[Cell]]) -> Panel:
    lines: dict[str, list[Point]] = {}
    ticks = tuple(sorted(places))
    for tick in ticks:
        for cell in places[tick]:
            result = cell.over.result
            lines.setdefault(str(cell.who), []).append(
                Point(tick[0], 100 * result.mean, 100 * result.half_width)
            )
    kept = [(name, tuple(points)) for name, points in lines.items() if len(points) > 1]
    kept.sort(key=lambda line: (-len(line[1]), -line[1][-1].mean))
    return Panel(
        title, axis, ticks, tuple(kept), _counts([cell for own in places.values() for cell in own])
    )


def _counts(cells: Sequence[Cell]) -> str:
    tasks, queries = (
        sorted({cell.tasks for cell in cells}),
        sorted({cell.queries for cell in cells}),
    )
    drawn = f"{tasks[0]:,}" if tasks[0] == tasks[-1] else f"{tasks[0]:,} to {tasks[-1]:,}"
    asked = (
        count(queries[0])
        if queries[0] == queries[-1]
        else f"{count(queries[0])} to {count(queries[-1])}"
    )
    own = len({cell.which for cell in cells}) == len({cell.draw for cell in cells})
    return f"{drawn} tasks of {asked} queries each" + (
        "" if own else "; not all lines are of the same tasks"
    )


def _evenly_spaced(panel: Panel) -> Panel:
    places = {x: float(i) for i, (x, _) in enumerate(panel.ticks)}
    lines = tuple(
        (name, tuple(dataclasses.replace(point, x=places[point.x]) for point in points))
        for name, points in panel.lines
    )
    ticks = tuple((places[x], label) for x, label in panel.ticks)
    return dataclasses.replace(panel, ticks=ticks, lines=lines, category=True)


def _query(cell: Cell) -> tuple[str, str, float | None]:
    """Kind, concentration where it has one, and number of queries where it is one number."""
    name = query_name(str(cell.drawn.get("query", "")))
    if name == "one-per-class":
        return "balanced", "", 1.0
    found = re.fullmatch(r"([a-z-]+)\((?:([\d.]+), )?(\d+)\)", name)
    return (
        (found[1], f"{float(found[2]):g}" if found[2] else "", float(found[3]))
        if found
        else (name, "", None)
    )


def _task(rest: Mapping[str, object]) -> str:
    spans = {
        name: "–".join(map(str, value)) if isinstance(value, list) else value
        for name, value in rest.items()
    }
    return " ".join(f"{spans[name]}-{name}" for name in ("way", "shot") if name in spans)


def _words(rest: dict[str, object]) -> str:
    return query_words(query_name(str(rest.get("query", "unknown"))))


def _rest(drawn: Mapping[str, object]) -> str:
    return json.dumps(dict(drawn), sort_keys=True)
