"""Line plots of accuracy; lines differ in color, marker, dashes, and a label at their end."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark.report.plot_data import LinePlot
from graphfew.benchmark.report.svg import (
    DASHES,
    MARKERS,
    SERIES,
    captioned,
    inline_svg,
    report_style,
    shorten,
)

MAX_LINES = 6


def render_line_plot(plot: LinePlot, name: str) -> Markup:
    """Return a plot of the best lines with a caption; `name` is unique on the page."""
    shown = plot.lines[:MAX_LINES]
    with report_style():
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        ax = figure.subplots()
        for number, (_, points) in enumerate(shown):
            ax.errorbar(
                offset_positions([point.x for point in points], plot, number, len(shown)),
                [point.mean for point in points],
                [point.half_width for point in points],
                color=SERIES[number],
                marker=MARKERS[number],
                linestyle=DASHES[number],
                linewidth=1.5,
                markersize=5,
                elinewidth=1,
            )
        _format_axes(ax, plot)
        _label_lines(ax, [(line, points[-1].x, points[-1].mean) for line, points in shown])
        picture = inline_svg(figure, name, describe_line_plot(plot))
    caption = f"{plot.title}: accuracy in %, 95 % intervals over tasks; {plot.counts}"
    if len(plot.lines) > MAX_LINES:
        caption += f"; the best {MAX_LINES} of {len(plot.lines)} lines"
    return captioned(picture, f"{caption}.")


def offset_positions(
    positions: Sequence[float], plot: LinePlot, number: int, n_lines: int
) -> list[float]:
    """Shift the positions a little per line, so that intervals do not hide one another."""
    shift = 0.012 * (number - (n_lines - 1) / 2)
    # The shift is the same distance on paper for either scale.
    if _is_logarithmic(plot):
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
    """Move values apart until no two are closer than `gap`, in their order.

    Args:
        values: positions of labels.
        gap: smallest distance.
        low, high: range in which they remain if there is room.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    moved = [values[i] for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    # The first pass only moves labels up; this one returns those that left the range.
    if moved and moved[-1] > high:
        moved[-1] = max(high, low + gap * (len(moved) - 1))
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    spread = [0.0] * len(moved)
    for position, i in zip(moved, order, strict=True):
        spread[i] = position
    return spread


def _format_axes(ax: Axes, plot: LinePlot) -> None:
    if _is_logarithmic(plot):
        ax.set_xscale("log")
    ax.set_xticks([x for x, _ in plot.ticks], [label for _, label in plot.ticks])
    # A logarithmic axis would label values that were not evaluated.
    ax.minorticks_off()
    ax.set_xlabel(plot.axis)
    ax.set_ylabel("accuracy in %")
    ax.grid(visible=False, axis="x")


def _label_lines(ax: Axes, ends: Sequence[tuple[str, float, float]]) -> None:
    """Write names at the right edge, spread apart, each joined to the end of its line."""
    low, high = ax.get_ylim()
    right = ax.get_xlim()[1]
    positions = spread_labels([y for _, _, y in ends], 0.075 * (high - low), low, high)
    for number, ((name, x, y), position) in enumerate(zip(ends, positions, strict=True)):
        arrow = {"arrowstyle": "-", "color": SERIES[number], "linewidth": 0.6, "alpha": 0.6}
        ax.annotate(
            shorten(name),
            (x, y),
            xytext=(right, position),
            textcoords="data",
            color=SERIES[number],
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={**arrow, "shrinkA": 1, "shrinkB": 4},
        )


def _is_logarithmic(plot: LinePlot) -> bool:
    first, last = plot.ticks[0][0], plot.ticks[-1][0]
    # Shots such as 1, 5 and 20: on a linear axis the small ones are too close to be read.
    return not plot.categorical and first > 0 and last / first > 6
