"""Query samplers: records that draw how many queries of each class a task has.

`str(sampler)` is their text form, as results and checkpoints store it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from graphfew.data.int_range import IntRange
from graphfew.data.query_protocols import Counts, QuerySampler


@dataclasses.dataclass(frozen=True)
class BalancedQueries:
    """The same number of queries for every class, drawn uniformly from a range once per task.

    Attributes:
        per_class: number of queries of each class.
    """

    per_class: IntRange
    max_total: ClassVar[None] = None

    def __str__(self) -> str:
        # Equal samplers need one text form: `balanced(1)` is `one-per-class`.
        return (
            "one-per-class" if self.per_class == IntRange(1, 1) else f"balanced({self.per_class})"
        )

    @property
    def max_per_class(self) -> int:
        """Largest number of queries of one class."""
        return self.per_class.high

    def draw(self, rng: np.random.Generator, way: int) -> Counts:
        """Draw the number of queries of each class, `[way]` int64."""
        return np.full(way, self.per_class.draw(rng), dtype=np.int64)


@dataclasses.dataclass(frozen=True)
class MultinomialQueries:
    """Queries whose classes are drawn independently and uniformly.

    Attributes:
        total: number of queries of a task, drawn uniformly.
    """

    total: IntRange
    max_per_class: ClassVar[None] = None

    def __str__(self) -> str:
        return "single" if self.total == IntRange(1, 1) else f"multinomial({self.total})"

    @property
    def max_total(self) -> int:
        """Largest number of queries of one task."""
        return self.total.high

    def draw(self, rng: np.random.Generator, way: int) -> Counts:
        """Draw the number of queries of each class, `[way]` int64."""
        query_classes = rng.integers(way, size=self.total.draw(rng))
        return np.bincount(query_classes, minlength=way)


@dataclasses.dataclass(frozen=True)
class SingleClassQueries:
    """All queries belong to one class, which is drawn uniformly.

    Attributes:
        total: number of queries of a task, drawn uniformly.
    """

    total: IntRange
    max_per_class: ClassVar[None] = None

    def __str__(self) -> str:
        return f"single-class({self.total})"

    @property
    def max_total(self) -> int:
        """Largest number of queries of one task."""
        return self.total.high

    def draw(self, rng: np.random.Generator, way: int) -> Counts:
        """Draw the number of queries of each class, `[way]` int64."""
        counts = np.zeros(way, dtype=np.int64)
        query_class = int(rng.integers(way))
        counts[query_class] = self.total.draw(rng)
        return counts


@dataclasses.dataclass(frozen=True)
class DirichletQueries:
    """Imbalanced queries: class proportions from a symmetric Dirichlet distribution.

    Attributes:
        total: number of queries of a task, drawn uniformly.
        concentration: parameter of the Dirichlet distribution; small values give imbalanced tasks.
    """

    total: IntRange
    concentration: float = 2.0
    max_per_class: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_concentration(self.concentration)

    def __str__(self) -> str:
        # Results store this text: concentration first, and written as 2.0 rather than 2.
        return f"dirichlet({_float_text(self.concentration, trim='0')}, {self.total})"

    @property
    def max_total(self) -> int:
        """Largest number of queries of one task."""
        return self.total.high

    def draw(self, rng: np.random.Generator, way: int) -> Counts:
        """Draw the number of queries of each class, `[way]` int64."""
        proportions = rng.dirichlet(np.full(way, self.concentration))
        return _largest_remainder(proportions, self.total.draw(rng))


@dataclasses.dataclass(frozen=True)
class VariedQueries:
    """Tasks from a single query to many, and from balanced to imbalanced.

    Attributes:
        total: range of the number of queries of a task, drawn log-uniformly.
        concentration: range `(low, high)` of the Dirichlet parameter, drawn log-uniformly.
    """

    total: IntRange
    concentration: tuple[float, float] = (0.5, 100.0)
    max_per_class: ClassVar[None] = None

    def __post_init__(self) -> None:
        low, high = self.concentration
        check_concentration(low)
        check_concentration(high)
        if low > high:
            raise ValueError(
                f"concentration is {self.concentration}; a range must run from low to high"
            )

    def __str__(self) -> str:
        low, high = (_float_text(value, trim="-") for value in self.concentration)
        return f"varied({self.total}, {low}-{high})"

    @property
    def max_total(self) -> int:
        """Largest number of queries of one task."""
        return self.total.high

    def draw(self, rng: np.random.Generator, way: int) -> Counts:
        """Draw the number of queries of each class, `[way]` int64."""
        # Truncated below high + 1, so that high itself is drawn; exp may round up, hence `min`.
        real_total = _log_uniform(rng, float(self.total.low), float(self.total.high + 1))
        total = min(int(real_total), self.total.high)
        proportions = rng.dirichlet(np.full(way, _log_uniform(rng, *self.concentration)))
        # A multinomial draw, not rounding: with as many queries as classes, rounding would often
        # give each class exactly one query, and a model would learn that queries exclude each
        # other.
        return rng.multinomial(total, proportions)


@dataclasses.dataclass(frozen=True)
class EffectiveClassQueries:
    """All queries belong to few of the task's classes, which are drawn uniformly.

    The items that these classes have left form one pool, from which the queries are drawn without
    replacement, so larger classes supply more queries.

    Attributes:
        classes: number of classes in the pool, drawn uniformly; all classes of a smaller task.
        total: number of queries of a task, drawn uniformly.
    """

    classes: IntRange
    total: IntRange
    max_per_class: ClassVar[None] = None

    def __str__(self) -> str:
        return f"effective({self.classes}, {self.total})"

    @property
    def max_total(self) -> int:
        """Largest number of queries of one task."""
        return self.total.high

    @property
    def min_classes(self) -> int:
        """Smallest number of classes that supply all queries of a task."""
        return self.classes.low

    def draw(self, rng: np.random.Generator, way: int) -> Counts:
        """Draw the number of queries of each class, `[way]` int64, for large equal classes."""
        chosen = self._draw_classes(rng, way)
        query_classes = rng.choice(chosen, self.total.draw(rng))
        return np.bincount(query_classes, minlength=way)

    def draw_from(self, rng: np.random.Generator, capacity: Counts) -> Counts:
        """Draw the number of queries of each class, `[way]` int64, none above `capacity`.

        Raises:
            ValueError: the chosen classes have fewer items than the task needs queries.
        """
        chosen = self._draw_classes(rng, len(capacity))
        total = self.total.draw(rng)
        pool = capacity[chosen]
        if total > pool.sum():
            raise ValueError(
                f"the task needs {total} queries of {len(chosen)} classes, which have "
                f"{pool.sum()} items left; use fewer queries, shots or unlabeled items, or more "
                "classes"
            )
        counts = np.zeros(len(capacity), dtype=np.int64)
        counts[chosen] = rng.multivariate_hypergeometric(pool, total)
        return counts

    def _draw_classes(self, rng: np.random.Generator, way: int) -> Counts:
        n_classes = min(self.classes.draw(rng), way)
        return rng.choice(way, n_classes, replace=False)


@dataclasses.dataclass(frozen=True)
class QueryMixture:
    """One of several samplers, drawn uniformly for each task.

    Attributes:
        samplers: at least two samplers, none of them a mixture.
    """

    samplers: tuple[QuerySampler, ...]

    def __post_init__(self) -> None:
        if len(self.samplers) < 2:
            raise ValueError(f"mixture got {len(self.samplers)} samplers; pass at least two")
        if any(isinstance(sampler, QueryMixture) for sampler in self.samplers):
            raise ValueError("mixture got another mixture; pass the samplers of both instead")

    def __str__(self) -> str:
        return "+".join(map(str, self.samplers))

    @property
    def max_per_class(self) -> int | None:
        """Largest number of queries of one class that a sampler requires of every class."""
        limits = [sampler.max_per_class for sampler in self.samplers]
        return max((limit for limit in limits if limit is not None), default=None)

    @property
    def max_total(self) -> int | None:
        """Largest number of queries of one task, among samplers that limit it."""
        limits = [sampler.max_total for sampler in self.samplers]
        return max((limit for limit in limits if limit is not None), default=None)

    def draw(self, rng: np.random.Generator, way: int) -> Counts:
        """Draw the number of queries of each class, `[way]` int64."""
        return self.draw_sampler(rng).draw(rng, way)

    def draw_sampler(self, rng: np.random.Generator) -> QuerySampler:
        """Draw the sampler of one task."""
        return self.samplers[int(rng.integers(len(self.samplers)))]


def _largest_remainder(proportions: NDArray[np.float64], total: int) -> Counts:
    """Round `proportions * total` to integers that sum to `total`."""
    exact = proportions * total
    counts = np.floor(exact).astype(np.int64)
    missing = total - counts.sum()
    # Ascending negative remainders; stable, so that ties go to the first classes on every machine.
    largest_remainders = np.argsort(counts - exact, kind="stable")
    counts[largest_remainders[:missing]] += 1
    return counts


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def check_concentration(value: float) -> float:
    """Return a concentration as a float. Raises ValueError unless it is positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"concentration is {value}; it must be positive and finite")
    return float(value)


def _float_text(value: float, *, trim: Literal["0", "-"]) -> str:
    # No exponent, as in 1e+20: "+" separates the samplers of a mixture and "-" the ends of a range.
    return np.format_float_positional(value, trim=trim)
