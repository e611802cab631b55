"""Statistical comparison of many methods: paired tests, Holm's correction, and mean ranks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphfew.errors import InvalidInputError
from graphfew.evaluation.accuracy import Result
from graphfew.evaluation.comparison import Comparison, compare_results
from graphfew.evaluation.statistics import t_interval

LEVEL = 0.05
MAX_METHODS = 100


@dataclasses.dataclass(frozen=True)
class SeedAverage:
    """Accuracy of a method over several training seeds.

    Attributes:
        result: per task the mean over seeds, with the t-interval over tasks.
        seed_std: standard deviation of the seeds' means, in `[0, 1]`; None for a single seed.
        n_seeds: number of seeds.

    Example:
        >>> from graphfew.evaluation import EvaluationMode, Result
        >>> mode = EvaluationMode(transductive=False)
        >>> results = [Result(a, 0.1, (a, a), mode, {}, {}, "cpu") for a in (0.6, 0.8)]
        >>> average = average_over_seeds(results)
        >>> round(average.result.mean, 2), average.n_seeds
        (0.7, 2)
    """

    result: Result
    seed_std: float | None
    n_seeds: int


@dataclasses.dataclass(frozen=True)
class PairwiseTest:
    """Comparison of two of several results.

    Attributes:
        a, b: indices of the results.
        comparison: of `a` with `b`.
        corrected_p: p-value after correction for the number of comparisons.

    Example:
        >>> from graphfew.evaluation import EvaluationMode, Result
        >>> mode = EvaluationMode(transductive=False)
        >>> results = [Result(a, 0.0, (a, a), mode, {}, {}, "cpu") for a in (0.6, 0.8)]
        >>> (test,) = compare_pairwise(results)
        >>> test.significant
        True
    """

    a: int
    b: int
    comparison: Comparison
    corrected_p: float

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at the 5 % level after correction."""
        return self.corrected_p < LEVEL


@dataclasses.dataclass(frozen=True)
class MethodRanking:
    """Mean ranks of methods over benchmarks; 1 is the best rank.

    Attributes:
        ranks: mean rank of each method.
        statistic, p_value: of Friedman's test that all methods perform alike.
        critical_difference: smaller differences of mean ranks are not significant (Nemenyi, 5 %).
        n_benchmarks: number of benchmarks.

    Example:
        >>> MethodRanking((1.0, 2.5, 2.5), 4.0, 0.1, 2.0, 2).groups
        ((0, 1, 2),)
    """

    ranks: tuple[float, ...]
    statistic: float
    p_value: float
    critical_difference: float
    n_benchmarks: int

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Maximal sets of methods whose mean ranks do not differ significantly, best first."""
        order = sorted(range(len(self.ranks)), key=lambda method: (self.ranks[method], method))
        groups: list[tuple[int, ...]] = []
        for start, best in enumerate(order):
            group = tuple(
                method
                for method in order[start:]
                if self.ranks[method] - self.ranks[best] < self.critical_difference
            )
            # A bar that lies within another adds nothing to the diagram.
            is_covered = any(set(group) <= set(larger) for larger in groups)
            if len(group) > 1 and not is_covered:
                groups.append(group)
        return tuple(groups)


def average_over_seeds(results: Sequence[Result]) -> SeedAverage:
    """Average the results of several training seeds on the same tasks.

    Args:
        results: one per seed.

    Returns:
        The average of each task, and the spread of the seeds.

    Raises:
        InvalidInputError: no results, or results on different tasks.

    Example:
        >>> from graphfew.evaluation import EvaluationMode, Result
        >>> mode = EvaluationMode(transductive=False)
        >>> results = [Result(a, 0.1, (a, a), mode, {}, {}, "cpu") for a in (0.6, 0.8)]
        >>> round(average_over_seeds(results).seed_std, 3)
        0.141
    """
    if not results:
        raise InvalidInputError("average_over_seeds got no results; give at least one")
    first = results[0]
    for other in results[1:]:
        if other.tasks != first.tasks or len(other.per_task) != len(first.per_task):
            raise InvalidInputError(
                f"results on different tasks cannot be averaged: {len(first.per_task)} of "
                f"{dict(first.tasks)} and {len(other.per_task)} of {dict(other.tasks)}"
            )
    # First over seeds, then over tasks: the interval is about new tasks given these trainings.
    # How much the trainings differ is reported separately.
    per_task = np.mean([result.per_task for result in results], axis=0)
    mean, half_width = t_interval(per_task)
    average = dataclasses.replace(
        first, mean=mean, half_width=half_width, per_task=tuple(map(float, per_task))
    )
    if len(results) == 1:
        return SeedAverage(average, None, 1)
    seed_means = [np.mean(result.per_task) for result in results]
    return SeedAverage(average, float(np.std(seed_means, ddof=1)), len(results))


def holm_correction(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values for their number; the family-wise error rate is at most the level.

    Args:
        p_values: one per test.

    Returns:
        The corrected p-values in the same order.

    Example:
        >>> holm_correction([0.25, 0.125])
        (0.25, 0.25)

    Source:
        Holm, 1979, A simple sequentially rejective multiple test procedure.

    Deviations:
        None.
    """
    n_tests = len(p_values)
    corrected = [0.0] * n_tests
    largest = 0.0
    # The k-th smallest p-value is multiplied by the number of hypotheses that are still open.
    # The stable sort gives ties the order of the arguments.
    for position, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        # A later test is never more significant than an earlier one.
        largest = max(largest, min(1.0, p_values[index] * (n_tests - position)))
        corrected[index] = largest
    return tuple(corrected)


def compare_pairwise(
    results: Sequence[Result], pairs: Sequence[tuple[int, int]] | None = None
) -> tuple[PairwiseTest, ...]:
    """Compare results on the same tasks, corrected for the number of comparisons (Holm).

    Args:
        results: on the same tasks.
        pairs: indices of the results to compare; by default every two.

    Returns:
        One comparison per pair, in order.

    Raises:
        InvalidInputError: results on different tasks.

    Example:
        >>> from graphfew.evaluation import EvaluationMode, Result
        >>> mode = EvaluationMode(transductive=False)
        >>> results = [Result(a, 0.0, (a, a), mode, {}, {}, "cpu") for a in (0.6, 0.8, 0.8)]
        >>> [(test.a, test.b, test.corrected_p) for test in compare_pairwise(results)]
        [(0, 1, 0.0), (0, 2, 0.0), (1, 2, 1.0)]
    """
    if pairs is None:
        pairs = list(itertools.combinations(range(len(results)), 2))
    comparisons = [compare_results(results[a], results[b]) for a, b in pairs]
    corrected = holm_correction([comparison.p_value for comparison in comparisons])
    tests: list[PairwiseTest] = []
    for (a, b), comparison, p_value in zip(pairs, comparisons, corrected, strict=True):
        tests.append(PairwiseTest(a, b, comparison, p_value))
    return tuple(tests)


def not_significantly_below_best(results: Sequence[Result]) -> tuple[bool, ...]:
    """Return which results are not significantly below the best mean.

    The correction counts the comparisons with the best only.

    Args:
        results: on the same tasks.

    Returns:
        One value per result; True for the best.

    Raises:
        InvalidInputError: results on different tasks.

    Example:
        >>> from graphfew.evaluation import EvaluationMode, Result
        >>> mode = EvaluationMode(transductive=False)
        >>> results = [Result(a, 0.0, (a, a), mode, {}, {}, "cpu") for a in (0.6, 0.8, 0.8)]
        >>> not_significantly_below_best(results)
        (False, True, True)
    """
    if not results:
        return ()
    # Comparing all with the best needs n - 1 tests instead of n (n - 1) / 2, so the correction
    # costs less power.
    best = int(np.argmax([result.mean for result in results]))
    others = [index for index in range(len(results)) if index != best]
    below: set[int] = set()
    for test in compare_pairwise(results, [(best, other) for other in others]):
        if test.significant and test.comparison.difference > 0:
            below.add(test.b)
    return tuple(index not in below for index in range(len(results)))


def rank_methods(accuracies: NDArray[np.float64]) -> MethodRanking:
    """Rank methods over benchmarks, with Friedman's test and Nemenyi's critical difference.

    Args:
        accuracies: `[benchmarks, methods]`; ties share a rank.

    Returns:
        Mean ranks, Friedman's test, and the critical difference.

    Raises:
        InvalidInputError: fewer than 2 benchmarks, fewer than 3 or more than 100 methods, or accuracies
            that are not finite.

    Example:
        >>> ranking = rank_methods(np.array([[0.9, 0.8, 0.7], [0.7, 0.6, 0.6]]))
        >>> ranking.ranks
        (1.0, 2.25, 2.75)

    Source:
        Demšar, 2006, Statistical comparisons of classifiers over multiple data sets.

    Deviations:
        The statistic is corrected for ties, as in scipy.
    """
    n, k = accuracies.shape if accuracies.ndim == 2 else (0, 0)
    if n < 2 or not 3 <= k <= MAX_METHODS or not np.isfinite(accuracies).all():
        raise InvalidInputError(
            f"rank_methods got accuracies of shape {accuracies.shape}; it needs finite values of "
            f"at least 2 benchmarks (rows) and 3 to {MAX_METHODS} methods (columns)"
        )
    from scipy import stats  # imported here because it takes most of a second

    # Negative, because rank 1 is the highest accuracy.
    ranks = stats.rankdata(-accuracies, axis=1)
    statistic, p_value = 0.0, 1.0
    # Friedman's statistic is undefined if every benchmark ranks all methods equally.
    if np.ptp(ranks) > 0:
        test = stats.friedmanchisquare(*accuracies.T)
        statistic, p_value = float(test.statistic), float(test.pvalue)
    # Nemenyi: the studentized range for infinitely many degrees of freedom, divided by the root
    # of two because ranks of two methods are compared.
    quantile = float(stats.studentized_range.ppf(1 - LEVEL, k, np.inf)) / 2**0.5
    critical_difference = quantile * (k * (k + 1) / (6 * n)) ** 0.5
    mean_ranks = tuple(map(float, ranks.mean(0)))
    return MethodRanking(mean_ranks, statistic, p_value, critical_difference, n)
