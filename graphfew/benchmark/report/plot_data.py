"""The data of plots: accuracy against shots, number of queries, and class balance of queries."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence

from graphfew.benchmark.protocol import query_name, query_phrase
from graphfew.benchmark.report.aggregation import AggregatedResult
from graphfew.benchmark.report.formatting import format_count, format_range

# From balanced to imbalanced.
BALANCE_ORDER = ("one-per-class", "balanced", "multinomial", "dirichlet", "single-class")
Tick = tuple[float, str]


@dataclasses.dataclass(frozen=True)
class PlotPoint:
    """Mean and 95 % half width in percent at a position of the axis."""

    x: float
    mean: float
    half_width: float


@dataclasses.dataclass(frozen=True)
class LinePlot:
    """Lines by name over the ticks of an axis.

    Attributes:
        ticks: positions with labels, in order.
        lines: the most complete ones with the highest last point first.
        counts: number of tasks and queries in words.
        categorical: the ticks are categories rather than numbers.
    """

    title: str
    axis: str
    ticks: tuple[Tick, ...]
    lines: tuple[tuple[str, tuple[PlotPoint, ...]], ...]
    counts: str
    categorical: bool = False


def accuracy_over_shots(results: Sequence[AggregatedResult]) -> tuple[LinePlot, ...]:
    """Return a plot for each kind of tasks that was evaluated with several shots."""

    def position(result: AggregatedResult) -> tuple[str, Tick] | None:
        settings = dict(result.task_settings)
        shot = settings.pop("shot", None)
        return (_key(settings), (float(shot), str(shot))) if isinstance(shot, int) else None

    def title(settings: Mapping[str, object]) -> str:
        queries = query_phrase(query_name(str(settings.get("query", "unknown"))))
        return f"{_task_size(settings)}, {queries}"

    return _group_plots(results, position, "shots", title)


def accuracy_over_queries(results: Sequence[AggregatedResult]) -> tuple[LinePlot, ...]:
    """Return a plot for each kind of tasks that was evaluated with several numbers of queries."""

    def position(result: AggregatedResult) -> tuple[str, Tick] | None:
        kind, concentration, number = _parse_query_name(result)
        if number is None:
            return None
        # The number is the axis, so that it is removed from the settings that define a plot.
        settings = {**result.task_settings, "query": f"{kind} {concentration}".strip()}
        return _key(settings), (number, format_count(number))

    def title(settings: Mapping[str, object]) -> str:
        return f"{_task_size(settings)}, {settings['query']}"

    axis = "queries (per class if balanced, else per task)"
    return _group_plots(results, position, axis, title)


def accuracy_over_balance(results: Sequence[AggregatedResult]) -> tuple[LinePlot, ...]:
    """Return a plot for each kind of tasks with the same number of queries, balanced and not."""

    def position(result: AggregatedResult) -> tuple[str, Tick] | None:
        kind, concentration, _ = _parse_query_name(result)
        if kind not in BALANCE_ORDER:
            return None
        label = kind
        if kind == "dirichlet":
            label = f"Dirichlet({concentration})"
        elif kind == "single-class":
            label = "one class"
        settings = {**result.task_settings}
        settings["query"] = f"{format_count(result.queries_per_task)} queries"
        # A higher concentration is closer to balanced.
        order = BALANCE_ORDER.index(kind) - float(concentration or 0) / 1e6
        return _key(settings), (order, label)

    plots = _group_plots(results, position, "class balance of the queries", _task_size)
    return tuple(_evenly_spaced(plot) for plot in plots)


def _group_plots(
    results: Sequence[AggregatedResult],
    position: Callable[[AggregatedResult], tuple[str, Tick] | None],
    axis: str,
    title: Callable[[Mapping[str, object]], str],
) -> tuple[LinePlot, ...]:
    """One plot for all results that differ in their position only.

    Args:
        results: of a benchmark.
        position: returns the other settings as JSON, and the tick; None leaves a result out.
        axis: label of the axis.
        title: of a plot, given its settings.
    """
    groups: dict[str, dict[Tick, list[AggregatedResult]]] = {}
    for result in results:
        found = position(result)
        if found is not None:
            settings, tick = found
            groups.setdefault(settings, {}).setdefault(tick, []).append(result)
    plots: list[LinePlot] = []
    for settings, by_tick in groups.items():
        if len(by_tick) > 1:
            plots.append(_line_plot(title(json.loads(settings)), axis, by_tick))
    return tuple(plots)


def _line_plot(title: str, axis: str, by_tick: Mapping[Tick, list[AggregatedResult]]) -> LinePlot:
    points: dict[str, list[PlotPoint]] = {}
    for tick in sorted(by_tick):
        for result in by_tick[tick]:
            average = result.average.result
            point = PlotPoint(tick[0], 100 * average.mean, 100 * average.half_width)
            points.setdefault(str(result.key), []).append(point)
    # A line needs two points.
    lines = [(name, tuple(line)) for name, line in points.items() if len(line) > 1]
    lines.sort(key=lambda line: (-len(line[1]), -line[1][-1].mean))
    results = [result for group in by_tick.values() for result in group]
    return LinePlot(title, axis, tuple(sorted(by_tick)), tuple(lines), _count_phrase(results))


def _count_phrase(results: Sequence[AggregatedResult]) -> str:
    tasks = sorted({result.n_tasks for result in results})
    queries = sorted({result.queries_per_task for result in results})
    n_tasks, n_queries = f"{tasks[0]:,}", format_count(queries[0])
    if tasks[0] != tasks[-1]:
        n_tasks += f" to {tasks[-1]:,}"
    if queries[0] != queries[-1]:
        n_queries += f" to {format_count(queries[-1])}"
    phrase = f"{n_tasks} tasks of {n_queries} queries each"
    # Results with other seeds or numbers of tasks are comparable within their intervals only.
    identities = {result.task_identity for result in results}
    if len(identities) != len({result.tasks_json for result in results}):
        phrase += "; not all lines are of the same tasks"
    return phrase


def _evenly_spaced(plot: LinePlot) -> LinePlot:
    # The positions so far only define the order.
    positions = {x: float(number) for number, (x, _) in enumerate(plot.ticks)}
    lines = []
    for name, points in plot.lines:
        moved = tuple(dataclasses.replace(point, x=positions[point.x]) for point in points)
        lines.append((name, moved))
    ticks = tuple((positions[x], label) for x, label in plot.ticks)
    return dataclasses.replace(plot, ticks=ticks, lines=tuple(lines), categorical=True)


def _parse_query_name(result: AggregatedResult) -> tuple[str, str, float | None]:
    """Kind, concentration if it has one, and number of queries if it is a single number."""
    name = query_name(str(result.task_settings.get("query", "")))
    if name == "one-per-class":
        return "balanced", "", 1.0
    match = re.fullmatch(r"([a-z-]+)\((?:([\d.]+), )?(\d+)\)", name)
    if match is None:
        return name, "", None
    concentration = f"{float(match[2]):g}" if match[2] else ""
    return match[1], concentration, float(match[3])


def _task_size(settings: Mapping[str, object]) -> str:
    sizes = [name for name in ("way", "shot") if name in settings]
    return " ".join(f"{format_range(settings[name])}-{name}" for name in sizes)


def _key(settings: Mapping[str, object]) -> str:
    return json.dumps(dict(settings), sort_keys=True)
