"""Query sampling: how many queries of each class a task has, as records with one text form.

`str(sampler)` is that form, as results and checkpoints store it, and `parse_queries` reads it back.
`parse_queries` also accepts a shorter form that needs no quotes in a shell: `"15"` for
`"balanced(15)"`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from graphfew.data.int_range import IntOrRange, IntRange

Counts = NDArray[np.int64]

KNOWN_FORMS = (
    "5 or balanced:5 (per class; 1-15 for a range), one-per-class, single, single-class:75, "
    "multinomial:25, dirichlet:75:2.0, varied:1-75, effective:5-10:75 (75 queries of 5 to 10 "
    "classes), and several joined by + for a mixture (single+varied:1-75)"
)


@runtime_checkable
class QuerySampler(Protocol):
    """A rule for the number of queries of each class. Any object with these members works.

    Attributes:
        max_per_class: largest number of queries of one class, if every class must be able to supply
            that many. None: a class with too few items supplies what it has, and the other classes
            supply the rest (`fit_queries`).
        max_total: largest number of queries of one task; None if it is `max_per_class * way`, or
            unknown.

    Example:
        >>> isinstance(balanced(5), QuerySampler)
        True
    """

    @property
    def max_per_class(self) -> int | None: ...

    @property
    def max_total(self) -> int | None: ...

    def draw(self, rng: np.random.Generator, way: int, /) -> Counts:
        """Draw the number of queries of each class, `[way]` int64."""
        ...


@runtime_checkable
class PoolSampler(QuerySampler, Protocol):
    """A sampler whose counts depend on the number of items that each class has left.

    Attributes:
        min_classes: smallest number of classes that supply all queries of a task.

    Example:
        >>> isinstance(effective_classes((5, 10)), PoolSampler)
        True
    """

    @property
    def min_classes(self) -> int: ...

    def draw_from(self, rng: np.random.Generator, capacity: Counts, /) -> Counts:
        """Draw the number of queries of each class, `[way]` int64, none above `capacity`."""
        ...


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
        return "one-per-class" if self == one_per_class() else f"balanced({self.per_class})"

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
        return "single" if self == single() else f"multinomial({self.total})"

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
        _check_concentration(self.concentration)

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
        _check_concentration(low)
        _check_concentration(high)
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
        IntRange.of(total, name="total", minimum=1), _check_concentration(concentration)
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
        (_check_concentration(low), _check_concentration(high)),
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


def parse_queries(text: str) -> QuerySampler:
    """Read a query sampler from text.

    Args:
        text: the form that `str` of a sampler returns, such as `"dirichlet(2.0, 75)"`, or the short
            form of the command
            line: `"5"`, `"balanced:1-15"`, `"one-per-class"`, `"single"`, `"single-class:75"`,
                `"multinomial:25"`,
            `"dirichlet:75:2.0"`, `"varied:1-75"`, `"effective:5-10"` (75 queries of 5 to 10 of the
            classes) or `"effective:5-10:64"`. Several joined by `+` are a mixture:
            `"single+varied:1-75"`.

    Returns:
        The sampler; `parse_queries(str(sampler)) == sampler` for every sampler of this module.

    Raises:
        ValueError: `text` has another form; the message lists the known ones.

    Example:
        >>> str(parse_queries("15"))
        'balanced(15)'
        >>> parse_queries("dirichlet:75:0.5") == parse_queries("dirichlet(0.5, 75)")
        True
    """
    try:
        samplers = [_parse_sampler(part.strip()) for part in text.split("+")]
    except (TypeError, ValueError) as error:
        # Both can be as long as the input, which may come from an untrusted file.
        shown, reason = repr(text)[:200], str(error)[:200]
        raise ValueError(
            f"cannot read the queries {shown} ({reason}); known forms: {KNOWN_FORMS}"
        ) from error
    return samplers[0] if len(samplers) == 1 else mixture(*samplers)


def _parse_sampler(text: str) -> QuerySampler:
    stored = _STORED_FORM.fullmatch(text)
    if stored is not None:
        name = stored[1]
        arguments = [argument.strip() for argument in stored[2].split(",")]
        if name == "dirichlet":
            # The stored form has the concentration first, the short form and the function have the
            # total first.
            arguments.reverse()
    else:
        name, *arguments = text.split(":")
    # A bare number or range, such as 5 or 1-15, is the argument of `balanced`.
    if name not in _SAMPLERS:
        name, arguments = "balanced", [name, *arguments]
    max_arguments, build = _SAMPLERS[name]
    if len(arguments) > max_arguments:
        raise ValueError(f"{name} takes at most {max_arguments} values")
    return build(*arguments)


def _parse_float_range(text: str) -> tuple[float, float]:
    match = _FLOAT_RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a range such as 0.5-100")
    low, high = match.groups()
    return float(low), float(low if high is None else high)


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


def _check_concentration(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"concentration is {value}; it must be positive and finite")
    return float(value)


def _float_text(value: float, *, trim: Literal["0", "-"]) -> str:
    # No exponent, as in 1e+20: "+" separates the samplers of a mixture and "-" the ends of a range.
    return np.format_float_positional(value, trim=trim)


_STORED_FORM = re.compile(r"([a-z-]+)\((.*)\)")
_FLOAT_RANGE = re.compile(r"([^-]+)(?:-([^-]+))?")

# The largest number of values that each name takes, and the function that reads them.
_SAMPLERS: dict[str, tuple[int, Callable[..., QuerySampler]]] = {
    "balanced": (1, lambda per_class: balanced(IntRange.parse(per_class))),
    "one-per-class": (0, one_per_class),
    "single": (0, single),
    "single-class": (1, lambda total: single_class(IntRange.parse(total))),
    "multinomial": (1, lambda total: multinomial(IntRange.parse(total))),
    "dirichlet": (
        2,
        lambda total, concentration="2.0": dirichlet(IntRange.parse(total), float(concentration)),
    ),
    "varied": (
        2,
        lambda total="1-75", concentration="0.5-100": varied(
            IntRange.parse(total), _parse_float_range(concentration)
        ),
    ),
    "effective": (
        2,
        lambda classes, total="75": effective_classes(
            IntRange.parse(classes), IntRange.parse(total)
        ),
    ),
}
