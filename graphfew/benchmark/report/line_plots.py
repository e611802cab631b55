"""Plots of accuracy against shots, number of queries, and class balance of queries."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark.protocol import query_name, query_phrase
from graphfew.benchmark.report import svg
from graphfew.benchmark.report.aggregation import AggregatedResult, group_by
from graphfew.benchmark.report.formatting import format_count
from graphfew.benchmark.report.result_tables import task_size

MAX_LINES = 6
# From balanced to imbalanced.
BALANCE_ORDER = ("one-per-class", "balanced", "multinomial", "dirichlet", "single-class")
Settings = Mapping[str, object]
Tick = tuple[float, str]


@dataclasses.dataclass(frozen=True)
class PlotPoint:
    """Mean and 95 % half width in percent at a position of the axis."""

    x: float
    mean: float
    half_width: float


@dataclasses.dataclass(frozen=True)
class LinePlot:
    """Lines by name over the ticks of an axis; the most complete lines come first."""

    title: str
    axis: str
    ticks: tuple[Tick, ...]
    lines: tuple[tuple[str, tuple[PlotPoint, ...]], ...]
    counts: str
    categorical: bool = False

    @property
    def is_logarithmic(self) -> bool:
        """Whether small numbers such as shots 1 and 5 of 20 are too close on a linear axis."""
        first, last = self.ticks[0][0], self.ticks[-1][0]
        return not self.categorical and first > 0 and last / first > 6


def accuracy_over_shots(results: Sequence[AggregatedResult]) -> tuple[LinePlot, ...]:
    """Return a plot for each kind of tasks that was evaluated with several shots."""

    def position(result: AggregatedResult) -> tuple[Settings, Tick] | None:
        settings = dict(result.task_settings)
        shot = settings.pop("shot", None)
        return (settings, (float(shot), str(shot))) if isinstance(shot, int) else None

    def title(settings: Settings) -> str:
        queries = query_phrase(query_name(str(settings.get("query", "unknown"))))
        return f"{task_size(settings)}, {queries}"

    return _group_plots(results, position, "shots", title)


def accuracy_over_queries(results: Sequence[AggregatedResult]) -> tuple[LinePlot, ...]:
    """Return a plot for each kind of tasks that was evaluated with several numbers of queries."""

    def position(result: AggregatedResult) -> tuple[Settings, Tick] | None:
        kind, concentration, number = _parse_query_name(result)
        if number is None:
            return None
        # The number is the axis, so that it is removed from the settings that define a plot.
        settings = {**result.task_settings, "query": f"{kind} {concentration}".strip()}
        return settings, (number, format_count(number))

    def title(settings: Settings) -> str:
        return f"{task_size(settings)}, {settings['query']}"

    axis = "queries (per class if balanced, else per task)"
    return _group_plots(results, position, axis, title)


def accuracy_over_balance(results: Sequence[AggregatedResult]) -> tuple[LinePlot, ...]:
    """Return a plot for each kind of tasks with the same number of queries, balanced and not."""

    def position(result: AggregatedResult) -> tuple[Settings, Tick] | None:
        kind, concentration, _ = _parse_query_name(result)
        if kind not in BALANCE_ORDER:
            return None
        labels = {"dirichlet": f"Dirichlet({concentration})", "single-class": "one class"}
        queries = f"{format_count(result.queries_per_task)} queries"
        # A higher concentration is closer to balanced.
        order = BALANCE_ORDER.index(kind) - float(concentration or 0) / 1e6
        return {**result.task_settings, "query": queries}, (order, labels.get(kind, kind))

    axis = "class balance of the queries"
    return _group_plots(results, position, axis, task_size, categorical=True)


def render_line_plot(plot: LinePlot, name: str) -> Markup:
    """Return a plot of the best lines with a caption; `name` is unique on the page."""
    shown = plot.lines[:MAX_LINES]
    with svg.report_style():
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        ax = figure.subplots()
        for number, (_, points) in enumerate(shown):
            ax.errorbar(
                offset_positions([point.x for point in points], plot, number, len(shown)),
                [point.mean for point in points],
                [point.half_width for point in points],
                color=svg.SERIES[number],
                marker=svg.MARKERS[number],
                linestyle=svg.DASHES[number],
                linewidth=1.5,
                markersize=5,
                elinewidth=1,
            )
        if plot.is_logarithmic:
            ax.set_xscale("log")
        ax.set_xticks([x for x, _ in plot.ticks], [label for _, label in plot.ticks])
        # A logarithmic axis would label values that were not evaluated.
        ax.minorticks_off()
        ax.set(xlabel=plot.axis, ylabel="accuracy in %")
        ax.grid(visible=False, axis="x")
        _label_lines(ax, [(line, points[-1].x, points[-1].mean) for line, points in shown])
        picture = svg.inline_svg(figure, name, describe_line_plot(plot))
    caption = f"{plot.title}: accuracy in %, 95 % intervals over tasks; {plot.counts}"
    if len(plot.lines) > MAX_LINES:
        caption += f"; the best {MAX_LINES} of {len(plot.lines)} lines"
    return svg.captioned(picture, f"{caption}.")


def offset_positions(
    positions: Sequence[float], plot: LinePlot, number: int, n_lines: int
) -> list[float]:
    """Shift the positions a little per line, so that intervals do not hide one another."""
    shift = 0.012 * (number - (n_lines - 1) / 2)
    # The shift is the same distance on paper for either scale.
    if plot.is_logarithmic:
        return [x * (1 + 2 * shift) for x in positions]
    return [x + shift * (plot.ticks[-1][0] - plot.ticks[0][0]) for x in positions]


def describe_line_plot(plot: LinePlot) -> str:
    """Return the plot in words, with its numbers."""
    labels = dict(plot.ticks)
    lines: list[str] = []
    for name, points in plot.lines[:MAX_LINES]:
        values = ", ".join(f"{labels[point.x]} {point.mean:.1f}" for point in points)
        lines.append(f"{name}: {values}")
    return f"Accuracy in % against {plot.axis}, {plot.title}. {'; '.join(lines)}."


def spread_labels(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions apart by at least `gap`, in their order, within the range if there is room."""
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    # Upward first, each at least one gap above the one below.
    moved = np.maximum.accumulate(np.array(values)[order] - steps) + steps
    # Then back down into the range, from its upper end.
    top = max(high, low + steps[-1])
    moved = np.minimum(moved, top - steps[::-1])
    spread = np.empty(len(values))
    spread[order] = moved
    return [float(position) for position in spread]


def _label_lines(ax: Axes, ends: Sequence[tuple[str, float, float]]) -> None:
    """Write names at the right edge, spread apart, each joined to the end of its line."""
    low, high = ax.get_ylim()
    right = ax.get_xlim()[1]
    positions = spread_labels([y for _, _, y in ends], 0.075 * (high - low), low, high)
    for number, ((name, x, y), position) in enumerate(zip(ends, positions, strict=True)):
        arrow = {"arrowstyle": "-", "color": svg.SERIES[number], "linewidth": 0.6, "alpha": 0.6}
        ax.annotate(
            svg.shorten(name),
            (x, y),
            xytext=(right, position),
            textcoords="data",
            color=svg.SERIES[number],
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={**arrow, "shrinkA": 1, "shrinkB": 4},
        )


def _group_plots(
    results: Sequence[AggregatedResult],
    position: Callable[[AggregatedResult], tuple[Settings, Tick] | None],
    axis: str,
    title: Callable[[Settings], str],
    *,
    categorical: bool = False,
) -> tuple[LinePlot, ...]:
    """One plot for all results that differ only in the tick that `position` returns."""
    groups: dict[str, list[tuple[Tick, AggregatedResult]]] = {}
    for result in results:
        found = position(result)
        if found is not None:
            settings = json.dumps(dict(found[0]), sort_keys=True)
            groups.setdefault(settings, []).append((found[1], result))
    plots: list[LinePlot] = []
    for settings, group in groups.items():
        if len({tick for tick, _ in group}) > 1:
            # Categories are evenly spaced; their positions so far only define the order.
            order = sorted({tick for tick, _ in group})
            ticks = [(float(i), label) for i, (_, label) in enumerate(order)]
            moved = dict(zip(order, ticks if categorical else order, strict=True))
            entries = [(moved[tick], result) for tick, result in group]
            plots.append(_line_plot(title(json.loads(settings)), axis, entries, categorical))
    return tuple(plots)


def _line_plot(
    title: str, axis: str, group: list[tuple[Tick, AggregatedResult]], categorical: bool
) -> LinePlot:
    lines: list[tuple[str, tuple[PlotPoint, ...]]] = []
    # Sorted by tick only: results of one tick stay in their order.
    group = sorted(group, key=lambda entry: entry[0])
    for name, entries in group_by(group, lambda entry: str(entry[1].key)).items():
        averages = [(x, result.average.result) for (x, _), result in entries]
        points = [PlotPoint(x, 100 * a.mean, 100 * a.half_width) for x, a in averages]
        # A line needs two points.
        if len(points) > 1:
            lines.append((name, tuple(points)))
    lines.sort(key=lambda line: (-len(line[1]), -line[1][-1].mean))
    ticks = tuple(sorted({tick for tick, _ in group}))
    counts = _count_phrase([result for _, result in group])
    return LinePlot(title, axis, ticks, tuple(lines), counts, categorical)


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
