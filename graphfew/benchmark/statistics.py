"""Comparisons of many rows: paired by task, corrected for their number, and ranked over benchmarks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from graphfew.evaluation.accuracy import Result
from graphfew.evaluation.comparison import Comparison, compare_results
from graphfew.evaluation.statistics import t_interval

LEVEL = 0.05
MOST_METHODS = 100


@dataclasses.dataclass(frozen=True)
class Averaged:
    """A row's accuracy over several training seeds.

    Shapes:
        result: of each task the mean over seeds, with the t-interval over tasks.
        spread: standard deviation of the seeds' means, in `[0, 1]`; None for one seed.
        seeds: their number.
    """

    result: Result
    spread: float | None
    seeds: int


@dataclasses.dataclass(frozen=True)
class Pair:
    """Row `a` against row `b` (by their places): the paired comparison, and its p-value corrected for the family."""

    a: int
    b: int
    comparison: Comparison
    adjusted: float

    @property
    def significant(self) -> bool:
        """Whether the difference stands at the 5 % level after correction."""
        return self.adjusted < LEVEL


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Methods over benchmarks: 1 is the best rank.

    Shapes:
        ranks: the mean rank of each method.
        statistic, p_value: Friedman's test that all methods are alike.
        critical_difference: mean ranks that are less far apart are not told apart (Nemenyi, 5 %).
        benchmarks: their number.
    """

    ranks: tuple[float, ...]
    statistic: float
    p_value: float
    critical_difference: float
    benchmarks: int

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Methods that are not told apart: the longest runs, in order of rank, that the critical difference spans."""
        order = sorted(range(len(self.ranks)), key=lambda i: (self.ranks[i], i))
        runs = [
            [
                i
                for i in order[start:]
                if self.ranks[i] - self.ranks[first] < self.critical_difference
            ]
            for start, first in enumerate(order)
        ]
        kept = [
            run
            for i, run in enumerate(runs)
            if len(run) > 1 and not any(set(run) <= set(r) for r in runs[:i])
        ]
        return tuple(map(tuple, kept))


def averaged(results: Sequence[Result]) -> Averaged:
    """One row of several training seeds on the same tasks.

    Raises:
        ValueError: none, or of different tasks.
    """
    if not results:
        raise ValueError("averaged got no results; give at least one")
    first = results[0]
    for other in results[1:]:
        if other.tasks != first.tasks or len(other.per_task) != len(first.per_task):
            raise ValueError(
                f"the seeds are of different tasks ({len(first.per_task)} of {dict(first.tasks)} against "
                f"{len(other.per_task)} of {dict(other.tasks)}); average those of the same ones"
            )
    per_task = np.mean([result.per_task for result in results], axis=0)
    mean, half = t_interval(per_task)
    spread = (
        float(np.std([np.mean(result.per_task) for result in results], ddof=1))
        if len(results) > 1
        else None
    )
    return Averaged(
        dataclasses.replace(
            first, mean=mean, half_width=half, per_task=tuple(map(float, per_task))
        ),
        spread,
        len(results),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values corrected for their number, in the same order; below the level with a family-wise error of it.

    Source: Holm, 1979, A simple sequentially rejective multiple test procedure.

    Deviations: none.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=float)[order] * np.arange(len(p_values), 0, -1)
    out = np.empty(len(p_values))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(p_values) else steps
    return tuple(map(float, out))


def pairwise(results: Sequence[Result]) -> tuple[Pair, ...]:
    """Every two results, the earlier against the later, corrected over all pairs.

    Raises:
        ValueError: results of different tasks.
    """
    places = [(a, b) for a in range(len(results)) for b in range(a + 1, len(results))]
    return _family(results, places)


def not_below_best(results: Sequence[Result]) -> tuple[bool, ...]:
    """Which results are not significantly below the best mean, corrected over the comparisons with it.

    Raises:
        ValueError: results of different tasks.
    """
    if not results:
        return ()
    best = int(np.argmax([result.mean for result in results]))
    pairs = _family(results, [(best, i) for i in range(len(results)) if i != best])
    below = {pair.b for pair in pairs if pair.significant and pair.comparison.difference > 0}
    return tuple(i not in below for i in range(len(results)))


def rank(accuracies: NDArray[np.float64]) -> Ranking:
    """Mean ranks of methods over benchmarks, with Friedman's test and Nemenyi's critical difference.

    Args:
        accuracies: `[benchmarks, methods]`, one figure each; ties share a rank.

    Source: Demšar, 2006, Statistical comparisons of classifiers over multiple data sets.

    Deviations: the statistic is corrected for ties, as scipy's is.

    Raises:
        ValueError: fewer than 2 benchmarks, fewer than 2 methods or more than 100, or a figure that is no number.
    """
    n, k = accuracies.shape if accuracies.ndim == 2 else (0, 0)
    if n < 2 or not 2 <= k <= MOST_METHODS or not np.isfinite(accuracies).all():
        raise ValueError(
            f"rank got accuracies of shape {accuracies.shape}; it needs finite ones of at least 2 "
            f"benchmarks (rows) and 2 to {MOST_METHODS} methods (columns)"
        )
    ranks = stats.rankdata(-accuracies, axis=1)
    means = ranks.mean(0)
    ties = sum(
        float((count**3 - count).sum())
        for count in (np.unique(row, return_counts=True)[1] for row in ranks)
    )
    scale = 1 - ties / (n * k * (k**2 - 1))
    statistic = (
        0.0
        if scale <= 0
        else (12 * n / (k * (k + 1)) * float(((means - (k + 1) / 2) ** 2).sum())) / scale
    )
    p_value = float(stats.chi2.sf(statistic, k - 1)) if scale > 0 else 1.0
    span = (
        float(stats.studentized_range.ppf(1 - LEVEL, k, np.inf))
        / 2**0.5
        * (k * (k + 1) / (6 * n)) ** 0.5
    )
    return Ranking(tuple(map(float, means)), statistic, p_value, span, n)


def _family(results: Sequence[Result], places: Sequence[tuple[int, int]]) -> tuple[Pair, ...]:
    comparisons = [compare_results(results[a], results[b]) for a, b in places]
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return tuple(
        Pair(a, b, comparison, p)
        for (a, b), comparison, p in zip(places, comparisons, adjusted, strict=True)
    )
