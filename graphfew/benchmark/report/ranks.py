"""Methods ranked over benchmarks, and the diagram of which of them are told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark import Ranking, rank
from graphfew.benchmark.report.aggregation import Benchmark, Cell
from graphfew.benchmark.report.html import Markup
from graphfew.benchmark.report.result_tables import usual
from graphfew.benchmark.report.svg import INK, SERIES, framed, inline, short, styled


@dataclasses.dataclass(frozen=True)
class Standing:
    """The ranking of one family's methods over the benchmarks that have them all."""

    family: str
    names: tuple[str, ...]
    benchmarks: tuple[str, ...]
    ranking: Ranking


def standings(benchmarks: Sequence[Benchmark]) -> tuple[Standing, ...]:
    """A standing for each family that has 3 methods on 2 benchmarks.

    A benchmark counts once, by the mean accuracy over the kinds of tasks that it has of all these methods: kinds of
    tasks of one data set are no independent evidence.
    """
    families = dict.fromkeys(
        cell.who.family for benchmark in benchmarks for cell in benchmark.cells
    )
    found = [
        _standing(
            family, {b.name: [c for c in b.cells if c.who.family == family] for b in benchmarks}
        )
        for family in families
    ]
    return tuple(standing for standing in found if standing is not None)


def diagram(standing: Standing, name: str) -> Markup:
    """The critical-difference diagram: methods at their mean ranks, a bar over those that are not told apart."""
    ranking = standing.ranking
    half = -(-len(standing.names) // 2)
    with styled(grid=False):
        figure = Figure(
            figsize=(8.4, 1.1 + 0.27 * half + 0.12 * len(ranking.groups)), layout="constrained"
        )
        ax = figure.subplots()
        bars = 0.55 + 0.35 * len(ranking.groups)
        for number, group in enumerate(ranking.groups):
            ends = [ranking.ranks[group[0]] - 0.04, ranking.ranks[group[-1]] + 0.04]
            ax.plot(
                ends,
                [-0.5 - 0.35 * number] * 2,
                color=SERIES[0],
                linewidth=3.5,
                solid_capstyle="round",
            )
        _names(ax, standing, bars)
        best, worst = 1.0, float(len(standing.names))
        ax.plot(
            [best, min(best + ranking.critical_difference, worst)],
            [1.0, 1.0],
            color=INK,
            linewidth=1.5,
            marker="|",
            markersize=7,
        )
        ax.text(best, 1.35, f"critical difference {ranking.critical_difference:.2f}", fontsize=9)
        ax.set_xlim(best - 0.05 * worst, worst + 0.05 * worst)
        ax.xaxis.tick_top()
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.spines["top"].set(visible=True, position=("data", 0))
        ax.set_yticks([])
        ax.locator_params(axis="x", integer=True)
        picture = inline(figure, name, describe(standing))
    told = (
        "no evidence that the methods differ"
        if ranking.p_value >= 0.05
        else "the methods are not all alike"
    )
    return framed(
        picture,
        f"{standing.family.capitalize()}: mean ranks over {', '.join(standing.benchmarks)} (1 is "
        f"best; each counts once). Friedman: {told} (p = {ranking.p_value:.2g}). A "
        "bar joins methods that are not told apart (Nemenyi, 5 %; Demšar 2006).",
    )


def describe(standing: Standing) -> str:
    """The diagram in words, with its numbers."""
    ranks = standing.ranking.ranks
    order = sorted(range(len(ranks)), key=lambda i: ranks[i])
    listed = ", ".join(f"{standing.names[i]} {ranks[i]:.2f}" for i in order)
    groups = "; ".join(
        " and ".join(standing.names[i] for i in group) for group in standing.ranking.groups
    )
    return (
        f"Critical-difference diagram. Mean ranks: {listed}. Critical difference "
        f"{standing.ranking.critical_difference:.2f}. Not told apart: {groups or 'none'}."
    )


def _names(ax: Axes, standing: Standing, bars: float) -> None:
    """The better half of the methods on the left, the other on the right, each led to its rank."""
    ranks = standing.ranking.ranks
    order = sorted(range(len(ranks)), key=lambda i: ranks[i])
    half = -(-len(order) // 2)
    edge = 0.05 * len(order)
    for number, i in enumerate(order):
        left = number < half
        level = -bars - 0.55 * (number if left else len(order) - 1 - number)
        x = 1 - edge if left else len(order) + edge
        ax.plot([x, ranks[i], ranks[i]], [level, level, 0], color=INK, linewidth=0.8)
        name = short(standing.names[i])
        text = f"{name}  {ranks[i]:.2f}" if left else f"{ranks[i]:.2f}  {name}"
        ax.annotate(
            text,
            (x, level),
            xytext=(-5 if left else 5, 0),
            textcoords="offset points",
            va="center",
            ha="right" if left else "left",
            fontsize=9.5,
            annotation_clip=False,
        )


def _standing(family: str, cells: Mapping[str, Sequence[Cell]]) -> Standing | None:
    rows = {name: {cell.who.row for cell in own} for name, own in cells.items() if own}
    while len(rows) > 2 and len(set.intersection(*rows.values())) < 3:
        rows.pop(
            min(rows, key=lambda name: sum(len(rows[name] & other) for other in rows.values()))
        )
    shared = sorted(set.intersection(*rows.values())) if len(rows) > 1 else []
    if len(shared) < 3:
        return None
    scores = {name: _scores(cells[name], shared) for name in rows}
    kept = {name: own for name, own in scores.items() if own is not None}
    if len(kept) < 2:
        return None
    return Standing(family, tuple(shared), tuple(kept), rank(np.array(list(kept.values()))))


def _scores(cells: Sequence[Cell], names: Sequence[str]) -> list[float] | None:
    """The mean accuracy of each method over the kinds of tasks that all of them have, on the same tasks."""
    by_draw: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        by_draw.setdefault(cell.draw, {})[cell.who.row] = cell
    full = []
    for own in by_draw.values():
        most = usual(list(own.values()))
        if all(name in own and own[name].which == most for name in names):
            full.append([own[name].over.result.mean for name in names])
    return [float(value) for value in np.mean(full, axis=0)] if full else None
