"""Lines of accuracy as pictures: told apart by color, marker, dashes and a label at their end."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark.report.html import Markup
from graphfew.benchmark.report.plot_data import Panel
from graphfew.benchmark.report.svg import DASHES, MARKERS, SERIES, framed, inline, short, styled

MOST = 6


def plot(panel: Panel, name: str) -> Markup:
    """A panel as a picture with a caption; its best lines, where there are many."""
    shown = panel.lines[:MOST]
    with styled():
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        ax = figure.subplots()
        for number, (_, points) in enumerate(shown):
            x, y = (
                aside([point.x for point in points], panel, number, len(shown)),
                [point.mean for point in points],
            )
            ax.errorbar(
                x,
                y,
                [point.half for point in points],
                color=SERIES[number],
                marker=MARKERS[number],
                linestyle=DASHES[number],
                linewidth=1.5,
                markersize=5,
                elinewidth=1,
            )
        _axes(ax, panel)
        _labels(ax, [(line, points[-1].x, points[-1].mean) for line, points in shown])
        rest = f"; the best {MOST} of {len(panel.lines)} lines" if len(panel.lines) > MOST else ""
        picture = inline(figure, name, describe(panel))
    return framed(
        picture, f"{panel.title}: accuracy in %, 95 % intervals over tasks; {panel.counts}{rest}."
    )


def aside(places: Sequence[float], panel: Panel, number: int, lines: int) -> list[float]:
    """The places, a little to one side for each line, so that intervals do not hide one another."""
    shift = 0.012 * (number - (lines - 1) / 2)
    if _wide(panel):
        return [place * (1 + 2 * shift) for place in places]
    return [place + shift * (panel.ticks[-1][0] - panel.ticks[0][0]) for place in places]


def describe(panel: Panel) -> str:
    """The plot in words, with its numbers."""
    labels = dict(panel.ticks)
    lines = "; ".join(
        f"{name}: " + ", ".join(f"{labels[point.x]} {point.mean:.1f}" for point in points)
        for name, points in panel.lines[:MOST]
    )
    return f"Accuracy in % against {panel.axis}, {panel.title}. {lines}."


def _axes(ax: Axes, panel: Panel) -> None:
    xs = [x for x, _ in panel.ticks]
    if _wide(panel):
        ax.set_xscale("log")
    ax.set_xticks(xs, [label for _, label in panel.ticks])
    ax.minorticks_off()
    ax.set_xlabel(panel.axis)
    ax.set_ylabel("accuracy in %")
    ax.grid(visible=False, axis="x")


def _labels(ax: Axes, ends: Sequence[tuple[str, float, float]]) -> None:
    """Names at the right edge, pushed apart where lines end close together, each joined to its line's end."""
    low, high = ax.get_ylim()
    right = ax.get_xlim()[1]
    places = spread([end for _, _, end in ends], 0.075 * (high - low), low, high)
    for number, ((name, x, y), place) in enumerate(zip(ends, places, strict=True)):
        ax.annotate(
            short(name),
            (x, y),
            xytext=(right, place),
            textcoords="data",
            color=SERIES[number],
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": SERIES[number],
                "linewidth": 0.6,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The values, moved apart until no two are nearer than `gap`, in their order, inside `low .. high` where they
    fit."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    at = [values[i] for i in order]
    for i in range(1, len(at)):
        at[i] = max(at[i], at[i - 1] + gap)
    if at and at[-1] > high:
        at[-1] = max(high, low + gap * (len(at) - 1))
        for i in range(len(at) - 2, -1, -1):
            at[i] = min(at[i], at[i + 1] - gap)
    out = [0.0] * len(at)
    for place, i in zip(at, order, strict=True):
        out[i] = place
    return out


def _wide(panel: Panel) -> bool:
    """Whether the axis is better logarithmic."""
    return (
        not panel.category and panel.ticks[0][0] > 0 and panel.ticks[-1][0] / panel.ticks[0][0] > 6
    )
