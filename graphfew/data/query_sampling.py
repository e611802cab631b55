"""Query sampling: how many queries of each class a task has.

The functions create samplers, which `graphfew.data.query_samplers` defines; `draw_queries` draws
from them. `graphfew.data.query_text` reads their text form.
"""

from __future__ import annotations

import numpy as np

from graphfew.data.int_range import IntOrRange, IntRange
from graphfew.data.query_protocols import Counts, PoolSampler, QuerySampler
from graphfew.data.query_samplers import (
    BalancedQueries,
    DirichletQueries,
    EffectiveClassQueries,
    MultinomialQueries,
    QueryMixture,
    SingleClassQueries,
    VariedQueries,
    check_concentration,
)


def balanced(per_class: IntOrRange) -> BalancedQueries:
    """Sample the same number of queries for every class.

    Args:
        per_class: number of queries of each class; a range is drawn uniformly, once per task.

    Returns:
        A sampler with the text form `balanced(15)`.

    Raises:
        ValueError: fewer than one query.

    Example:
        >>> balanced(15).draw(np.random.default_rng(0), 5)
        array([15, 15, 15, 15, 15])
    """
    return BalancedQueries(IntRange.of(per_class, name="per_class", minimum=1))


def one_per_class() -> BalancedQueries:
    """Sample one query of every class.

    Returns:
        The same sampler as `balanced(1)`, with the text form `one-per-class`.

    Example:
        >>> one_per_class().draw(np.random.default_rng(0), 5)
        array([1, 1, 1, 1, 1])
    """
    return BalancedQueries(IntRange(1, 1))


def multinomial(total: IntOrRange) -> MultinomialQueries:
    """Sample queries whose classes are independent and uniform.

    Args:
        total: number of queries of a task; a range is drawn uniformly.

    Returns:
        A sampler with the text form `multinomial(25)`.

    Raises:
        ValueError: fewer than one query.

    Example:
        >>> int(multinomial(25).draw(np.random.default_rng(0), 5).sum())
        25
    """
    return MultinomialQueries(IntRange.of(total, name="total", minimum=1))


def single() -> MultinomialQueries:
    """Sample a single query, of a class drawn uniformly.

    Returns:
        The same sampler as `multinomial(1)`, with the text form `single`.

    Example:
        >>> single().draw(np.random.default_rng(0), 5).tolist()
        [0, 0, 0, 0, 1]
    """
    return MultinomialQueries(IntRange(1, 1))


def single_class(total: IntOrRange) -> SingleClassQueries:
    """Sample all queries from one class, drawn uniformly.

    Args:
        total: number of queries of a task; a range is drawn uniformly.

    Returns:
        A sampler with the text form `single-class(75)`.

    Raises:
        ValueError: fewer than one query.

    Example:
        >>> single_class(75).draw(np.random.default_rng(0), 5).tolist()
        [0, 0, 0, 0, 75]
    """
    return SingleClassQueries(IntRange.of(total, name="total", minimum=1))


def dirichlet(total: IntOrRange, concentration: float = 2.0) -> DirichletQueries:
    """Sample imbalanced queries, with class proportions from a symmetric Dirichlet distribution.

    Proportions are rounded by the largest-remainder method, so that the counts sum to the total.

    Args:
        total: number of queries of a task; a range is drawn uniformly.
        concentration: parameter of the Dirichlet distribution, positive.

    Returns:
        A sampler with the text form `dirichlet(2.0, 75)`: concentration first, as results store it.

    Raises:
        ValueError: fewer than one query, or a concentration that is not positive and finite.

    Example:
        >>> int(dirichlet(75, 2.0).draw(np.random.default_rng(0), 5).sum())
        75

    Source:
        Veilleux, Boudiaf, Piantanida and Ben Ayed, 2021, "Realistic evaluation of transductive
        few-shot learning".

    Deviations:
        The total may be a range.
    """
    # Also converts to float here, because `__post_init__` of a frozen record cannot.
    return DirichletQueries(
        IntRange.of(total, name="total", minimum=1), check_concentration(concentration)
    )


def varied(
    total: IntOrRange = (1, 75), concentration: tuple[float, float] = (0.5, 100.0)
) -> VariedQueries:
    """Sample tasks of every size and class balance.

    For the training of transductive models that must rely on neither.

    The total is drawn log-uniformly, then proportions from a symmetric Dirichlet distribution whose
    concentration is drawn log-uniformly, then the class of each query independently with these
    proportions.

    Args:
        total: range of the number of queries of a task.
        concentration: range of the concentration.

    Returns:
        A sampler with the text form `varied(1-75, 0.5-100)`.

    Raises:
        ValueError: fewer than one query, or concentrations that are not positive, finite and in
            ascending order.

    Example:
        >>> varied((1, 30)).draw(np.random.default_rng(0), 5).tolist()
        [4, 0, 2, 0, 2]
    """
    low, high = concentration
    return VariedQueries(
        IntRange.of(total, name="total", minimum=1),
        (check_concentration(low), check_concentration(high)),
    )


def effective_classes(classes: IntOrRange, total: IntOrRange = 75) -> EffectiveClassQueries:
    """Sample all queries from few of the task's classes, in proportion to the class sizes.

    Args:
        classes: number of classes that may have queries; a range is drawn uniformly. A task with
            fewer classes uses all of them.
        total: number of queries of a task; a range is drawn uniformly.

    Returns:
        A sampler with the text form `effective(5-10, 75)`.

    Raises:
        ValueError: fewer than one class or query.

    Example:
        >>> effective_classes(2, 9).draw(np.random.default_rng(0), 6).tolist()
        [0, 0, 0, 3, 6, 0]

    Source:
        Martin, Boudiaf, Chouzenoux, Pesquet, Ben Ayed, 2022, Towards Practical Few-Shot Query Sets:
        Transductive Minimum Description Length Inference.

    Deviations:
        Queries are never drawn from the supports, and classes with too few items left for the
        requested queries raise an error instead of giving a smaller task.
    """
    return EffectiveClassQueries(
        IntRange.of(classes, name="classes", minimum=1),
        IntRange.of(total, name="total", minimum=1),
    )


def mixture(*samplers: QuerySampler) -> QueryMixture:
    """Sample with one of several samplers, drawn uniformly for each task.

    Args:
        *samplers: at least two samplers, none of them a mixture.

    Returns:
        A sampler with the text form `single+varied(1-30, 0.5-100)`.

    Raises:
        ValueError: fewer than two samplers, or a mixture of mixtures.

    Example:
        >>> str(mixture(single(), varied((1, 30))))
        'single+varied(1-30, 0.5-100)'
    """
    return QueryMixture(samplers)


def draw_queries(sampler: QuerySampler, capacity: Counts, rng: np.random.Generator) -> Counts:
    """Draw the number of queries of each class of one task.

    Args:
        sampler: the rule.
        capacity: `[way]` number of items that each class has left.
        rng: source of randomness.

    Returns:
        `[way]` counts, none above `capacity`.

    Raises:
        ValueError: the classes that supply the queries have too few items left.

    Example:
        >>> draw_queries(balanced(3), np.array([5, 9]), np.random.default_rng(0))
        array([3, 3])
    """
    if isinstance(sampler, QueryMixture):
        sampler = sampler.draw_sampler(rng)
    if isinstance(sampler, PoolSampler):
        return sampler.draw_from(rng, capacity)
    return fit_queries(sampler.draw(rng, len(capacity)), capacity, rng)


def fit_queries(counts: Counts, capacity: Counts, rng: np.random.Generator) -> Counts:
    """Move queries from classes with too few items to classes with items left.

    Args:
        counts: `[way]` number of queries drawn for each class.
        capacity: `[way]` number of items that each class has left.
        rng: draws the classes that supply the moved queries, without replacement; unchanged if
            `counts` fits.

    Returns:
        `[way]` counts with the same sum, none above `capacity`.

    Raises:
        ValueError: fewer items than queries in total.

    Example:
        >>> fit_queries(np.array([9, 0]), np.array([5, 9]), np.random.default_rng(0))
        array([5, 4])
    """
    excess = int(np.maximum(counts - capacity, 0).sum())
    if excess == 0:
        return counts
    clipped = np.minimum(counts, capacity)
    spare = capacity - clipped
    if excess > spare.sum():
        raise ValueError(
            f"the task needs {counts.sum()} queries but its classes have {capacity.sum()} items "
            f"left; use fewer queries, shots or unlabeled items"
        )
    # Every spare item is equally likely to supply a moved query: a draw without replacement, of
    # which only the number per class matters.
    return clipped + rng.multivariate_hypergeometric(spare, excess)
