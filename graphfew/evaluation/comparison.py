"""Paired comparison of two models on the same tasks."""

from __future__ import annotations

import dataclasses

import numpy as np

from graphfew.errors import InvalidInputError
from graphfew.evaluation.accuracy import DescribedTasks, Result, evaluate
from graphfew.evaluation.statistics import t_interval
from graphfew.nn.method import GraphMethod

# Differences of equal accuracies differ from each other by rounding only.
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Difference in accuracy of two models on the same tasks.

    Attributes:
        difference: mean over tasks of the accuracy of `a` minus that of `b`.
        half_width: half the width of the 95 % t-interval of `difference`.
        p_value: of the two-sided paired t-test.
        a, b: the two results.

    Example:
        >>> from graphfew.evaluation import EvaluationMode, Result
        >>> a = Result(0.8, 0.1, (0.7, 0.9), EvaluationMode(False), {}, {}, "cpu")
        >>> b = Result(0.6, 0.1, (0.5, 0.7), EvaluationMode(False), {}, {}, "cpu")
        >>> print(Comparison(0.2, 0.01, 0.04, a, b))
        +20.00 ± 1.00 points (p = 0.04)
    """

    difference: float
    half_width: float
    p_value: float
    a: Result
    b: Result

    def __str__(self) -> str:
        points = f"{100 * self.difference:+.2f} ± {100 * self.half_width:.2f} points"
        return f"{points} (p = {self.p_value:.2g})"


def compare(
    model: GraphMethod,
    other: GraphMethod,
    tasks: DescribedTasks,
    n: int = 1000,
    *,
    batch: int = 16,
) -> Comparison:
    """Evaluate two models on tasks `0 .. n-1` and compare them task by task.

    Args:
        model, other: the two models.
        tasks: a task source that describes itself, such as `Tasks`.
        n: number of tasks, at least 2.
        batch: number of tasks that are encoded together.

    Returns:
        The accuracy of `model` minus that of `other`, with interval and p-value.

    Raises:
        InvalidInputError: `n` or `batch` is too small, or a method rejects an episode.
        ContractError: a model violates the evaluation contract (see `check_contract`).

    Example:
        >>> import graphfew as gf
        >>> from sklearn.datasets import load_digits
        >>> tasks = gf.Tasks(gf.data.arrays(*load_digits(return_X_y=True)), way=5, query=5)
        >>> a = gf.create("label_propagation", encoder=gf.backbones.identity(64))
        >>> b = gf.create("prototypical", encoder=gf.backbones.identity(64))
        >>> comparison = gf.compare(a, b, tasks, n=20)
        >>> round(comparison.difference, 6) == round(comparison.a.mean - comparison.b.mean, 6)
        True
    """
    return compare_results(
        evaluate(model, tasks, n, batch=batch), evaluate(other, tasks, n, batch=batch)
    )


def compare_results(a: Result, b: Result) -> Comparison:
    """Compare two results task by task.

    Args:
        a, b: results on the same tasks.

    Returns:
        The accuracy of `a` minus that of `b`, with interval and p-value.

    Raises:
        InvalidInputError: the results are of different tasks.

    Example:
        >>> from graphfew.evaluation import EvaluationMode, Result
        >>> a = Result(0.8, 0.1, (0.7, 0.9), EvaluationMode(False), {}, {}, "cpu")
        >>> b = Result(0.6, 0.1, (0.6, 0.6), EvaluationMode(False), {}, {}, "cpu")
        >>> round(compare_results(a, b).difference, 2)
        0.2
    """
    if a.tasks != b.tasks or len(a.per_task) != len(b.per_task):
        raise InvalidInputError(
            f"the results are of different tasks ({len(a.per_task)} of {dict(a.tasks)} against "
            f"{len(b.per_task)} of {dict(b.tasks)}); evaluate both on the same ones"
        )
    from scipy import stats  # imported here because it takes most of a second

    differences = np.subtract(a.per_task, b.per_task)
    mean, half_width = t_interval(differences)
    if np.ptp(differences) > _ROUNDING:
        p_value = float(stats.ttest_1samp(differences, 0.0).pvalue)
    else:
        # Without variance the t statistic is rounding noise or 0/0; the difference is exact.
        p_value = 1.0 if abs(mean) < _ROUNDING else 0.0
    return Comparison(mean, half_width, p_value, a, b)
