"""Mean ranks of methods over benchmarks, and the critical-difference diagram."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark.report import svg
from graphfew.benchmark.report.aggregation import (
    AggregatedResult,
    BenchmarkResults,
    group_by,
    usual_tasks,
)
from graphfew.evaluation import MethodRanking, rank_methods


@dataclasses.dataclass(frozen=True)
class FamilyRanking:
    """The ranking of a family's methods over the benchmarks that have all of them."""

    family: str
    names: tuple[str, ...]
    benchmarks: tuple[str, ...]
    ranking: MethodRanking

    @property
    def order(self) -> list[int]:
        """Indices of the methods, the best first."""
        return [int(index) for index in np.argsort(self.ranking.ranks, kind="stable")]


def rank_families(benchmarks: Sequence[BenchmarkResults]) -> tuple[FamilyRanking, ...]:
    """Rank each family that has at least 3 methods on 2 benchmarks.

    A benchmark counts once, with the mean accuracy over the kinds of tasks that it has of all
    these methods: kinds of tasks of one data set are not independent evidence.
    """
    entries = [(benchmark.name, r) for benchmark in benchmarks for r in benchmark.results]
    rankings: list[FamilyRanking] = []
    for family, group in group_by(entries, lambda entry: entry[1].key.family).items():
        results: dict[str, list[AggregatedResult]] = {}
        for name, result in group:
            results.setdefault(name, []).append(result)
        methods = _common_methods(results)
        means = {name: _mean_accuracies(results[name], methods) for name in results}
        scores = {name: values for name, values in means.items() if values}
        if len(methods) >= 3 and len(scores) >= 2:
            ranking = rank_methods(np.array(list(scores.values())))
            rankings.append(FamilyRanking(family, tuple(methods), tuple(scores), ranking))
    return tuple(rankings)


def render_rank_diagram(family: FamilyRanking, name: str) -> Markup:
    """Return the critical-difference diagram: a bar joins methods that do not differ."""
    ranking = family.ranking
    n_methods, n_groups = len(family.names), len(ranking.groups)
    height = 1.1 + 0.27 * -(-n_methods // 2) + 0.12 * n_groups
    with svg.report_style():
        figure = Figure(figsize=(8.4, height), layout="constrained")
        ax = figure.subplots()
        ax.grid(visible=False)
        for number, group in enumerate(ranking.groups):
            # Slightly longer than the distance of the ranks, so that a bar touches the lines of
            # its ends.
            ends = [ranking.ranks[group[0]] - 0.04, ranking.ranks[group[-1]] + 0.04]
            level = -0.5 - 0.35 * number
            ax.plot(
                ends, [level, level], color=svg.SERIES[0], linewidth=3.5, solid_capstyle="round"
            )
        _draw_names(ax, family, top=-0.55 - 0.35 * n_groups)
        _draw_scale(ax, ranking.critical_difference, float(n_methods))
        picture = svg.inline_svg(figure, name, describe_ranking(family))
    conclusion = "the methods differ"
    if ranking.p_value >= 0.05:
        conclusion = "no evidence that the methods differ"
    return svg.captioned(
        picture,
        f"{family.family.capitalize()}: mean ranks over {', '.join(family.benchmarks)} (1 is "
        f"best; each counts once). Friedman: {conclusion} (p = {ranking.p_value:.2g}). A bar joins "
        "methods without a significant difference (Nemenyi, 5 %; Demšar 2006).",
    )


def describe_ranking(family: FamilyRanking) -> str:
    """Return the diagram in words, with its numbers."""
    ranking, names = family.ranking, family.names
    ranks = ", ".join(f"{names[i]} {ranking.ranks[i]:.2f}" for i in family.order)
    groups = "; ".join(" and ".join(names[i] for i in group) for group in ranking.groups)
    return (
        f"Critical-difference diagram. Mean ranks: {ranks}. Critical difference "
        f"{ranking.critical_difference:.2f}. Not significantly different: {groups or 'none'}."
    )


def _draw_scale(ax: Axes, critical_difference: float, worst: float) -> None:
    end = min(1.0 + critical_difference, worst)
    ax.plot([1.0, end], [1.0, 1.0], color=svg.INK, linewidth=1.5, marker="|", markersize=7)
    ax.text(1.0, 1.35, f"critical difference {critical_difference:.2f}", fontsize=9)
    ax.set_xlim(1.0 - 0.05 * worst, 1.05 * worst)
    ax.xaxis.tick_top()
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.spines["top"].set(visible=True, position=("data", 0))
    ax.set_yticks([])
    ax.locator_params(axis="x", integer=True)


def _draw_names(ax: Axes, family: FamilyRanking, top: float) -> None:
    """Write the better half of the methods on the left, the others on the right."""
    ranks, order = family.ranking.ranks, family.order
    # Rounded up.
    half = -(-len(order) // 2)
    margin = 0.05 * len(order)
    label: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9.5}
    for number, i in enumerate(order):
        name, rank = svg.shorten(family.names[i]), f"{ranks[i]:.2f}"
        if number < half:
            x, level = 1 - margin, top - 0.55 * number
            text, offset, alignment = f"{name}  {rank}", -5, "right"
        else:
            x, level = len(order) + margin, top - 0.55 * (len(order) - 1 - number)
            text, offset, alignment = f"{rank}  {name}", 5, "left"
        ax.plot([x, ranks[i], ranks[i]], [level, level, 0], color=svg.INK, linewidth=0.8)
        end: dict[str, Any] = {"xytext": (offset, 0), "ha": alignment, "annotation_clip": False}
        ax.annotate(text, (x, level), **label, **end)


def _common_methods(results: Mapping[str, Sequence[AggregatedResult]]) -> list[str]:
    """The methods that benchmarks share; one with little overlap is left out."""
    rows = {name: {result.key.row for result in group} for name, group in results.items()}
    # Ranks need every method on every benchmark, and at least 3 methods.
    while len(rows) > 2 and len(set.intersection(*rows.values())) < 3:
        overlap = {name: sum(len(rows[name] & other) for other in rows.values()) for name in rows}
        del rows[min(overlap, key=lambda name: overlap[name])]
    return sorted(set.intersection(*rows.values()))


def _mean_accuracies(
    results: Sequence[AggregatedResult], methods: Sequence[str]
) -> list[float] | None:
    """The mean accuracy of each method over the kinds of tasks on which all were evaluated."""
    complete: list[list[float]] = []
    for column in group_by(results, lambda result: result.tasks_json).values():
        usual = usual_tasks(column)
        means = {r.key.row: r.average.result.mean for r in column if r.task_identity == usual}
        # A kind of tasks that lacks one method would favor the others.
        if means.keys() >= set(methods):
            complete.append([means[name] for name in methods])
    return [float(value) for value in np.mean(complete, axis=0)] if complete else None
