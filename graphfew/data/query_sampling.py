"""How many queries of each class a task asks: every draw is a value that says its own name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from graphfew.data.int_range import IntRange, bounds, text, uniform

Counts = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class QuerySampler:
    """A rule for the number of queries of each class.

    Attributes:
        name: says what is drawn, for results and logs: `"dirichlet(2.0, 75)"`.
        draw: `(rng, way) -> [way]` int64, queries of each class.
        per_class: the most queries of one class, where every class must be able to give that many. None: a class that
            has too few items gives what it has, and other classes make up for it (`fit`).
        total: the most queries of one task, or None where it is `per_class` times way, or not known.
    """

    name: str
    draw: Callable[[np.random.Generator, int], Counts]
    per_class: int | None = None
    total: int | None = None


def balanced(per_class: IntRange) -> QuerySampler:
    """The same number of queries of every class; a range is drawn once per task, uniformly."""
    span = bounds("per_class", per_class, 1)
    return QuerySampler(f"balanced({text(span)})", partial(_balanced, span=span), per_class=span[1])


def one_per_class() -> QuerySampler:
    """One query of every class."""
    return QuerySampler("one-per-class", partial(_balanced, span=(1, 1)), per_class=1)


def multinomial(total: IntRange) -> QuerySampler:
    """Queries whose classes are drawn independently and uniformly; a range of totals is drawn uniformly."""
    span = bounds("total", total, 1)
    return QuerySampler(
        f"multinomial({text(span)})", partial(_multinomial, span=span), total=span[1]
    )


def single() -> QuerySampler:
    """One query, of a class drawn uniformly."""
    return QuerySampler("single", partial(_multinomial, span=(1, 1)), total=1)


def single_class(total: IntRange) -> QuerySampler:
    """All queries of one class, drawn uniformly; a range of totals is drawn uniformly."""
    span = bounds("total", total, 1)
    return QuerySampler(
        f"single-class({text(span)})", partial(_single_class, span=span), total=span[1]
    )


def dirichlet(total: IntRange, concentration: float = 2.0) -> QuerySampler:
    """Uneven classes: proportions from a symmetric Dirichlet, rounded by largest remainder to sum to `total`.

    Source: Veilleux, Boudiaf, Piantanida and Ben Ayed, 2021, "Realistic evaluation of transductive few-shot learning".
    Deviations: a range of totals, drawn uniformly.

    Raises:
        ValueError: a concentration that is not positive and finite.
    """
    span, value = bounds("total", total, 1), _positive(concentration)
    return QuerySampler(
        f"dirichlet({value}, {text(span)})",
        partial(_dirichlet, span=span, concentration=value),
        total=span[1],
    )


def varied(
    total: IntRange = (1, 75), concentration: tuple[float, float] = (0.5, 100.0)
) -> QuerySampler:
    """Compositions of every kind, to train for honest transduction: single queries and many, even and uneven.

    The total is drawn log-uniformly from its range, then proportions from a symmetric Dirichlet whose concentration is
    drawn log-uniformly from its own range, then the classes independently in these proportions.

    Raises:
        ValueError: concentrations that are not positive and finite, or do not run from low to high.
    """
    span, lo, hi = bounds("total", total, 1), *(_positive(c) for c in concentration)
    if lo > hi:
        raise ValueError(f"concentration is {concentration}; a range must run from low to high")
    return QuerySampler(
        f"varied({text(span)}, {lo:g}-{hi:g})",
        partial(_varied, span=span, concentration=(lo, hi)),
        total=span[1],
    )


def mixture(*rules: QuerySampler) -> QuerySampler:
    """One of several rules, drawn uniformly for each task: `mixture(single(), varied((1, 30)))`.

    Raises:
        ValueError: fewer than two rules.
    """
    if len(rules) < 2:
        raise ValueError(f"mixture got {len(rules)} rules; give at least two")
    per_class, total = (
        [n for n in asked if n is not None]
        for asked in ([r.per_class for r in rules], [r.total for r in rules])
    )
    return QuerySampler(
        "+".join(r.name for r in rules),
        partial(_mixture, rules=rules),
        per_class=max(per_class, default=None),
        total=max(total, default=None),
    )


def fit_queries(counts: Counts, capacity: Counts, rng: np.random.Generator) -> Counts:
    """`[way]` counts with the same sum, none above `capacity`.

    What a class cannot give is drawn from the items that the other classes have left, without replacement. Draws
    nothing from `rng` where the counts already fit.

    Raises:
        ValueError: fewer items than queries in total.
    """
    excess = int(np.maximum(counts - capacity, 0).sum())
    if excess == 0:
        return counts
    clipped = np.minimum(counts, capacity)
    spare = capacity - clipped
    if excess > spare.sum():
        raise ValueError(
            f"the task asks for {counts.sum()} queries but its classes have {capacity.sum()} items left; "
            f"ask for fewer queries, shots or unlabeled items"
        )
    return clipped + rng.multivariate_hypergeometric(spare, excess)


def parse_queries(form: str) -> QuerySampler:
    """Queries from a command line: `5`, `balanced:1-15`, `multinomial:25`, `dirichlet:75:2.0`, `varied:1-75`, `single`,
    or several of them joined by `+` for a mixture: `single+varied:1-75`.

    Raises:
        ValueError: an unknown form; the message lists the known ones.
    """
    if "+" in form:
        return mixture(*(parse_queries(part) for part in form.split("+")))
    name, *parts = form.strip().split(":")
    if name not in _FORMS:
        name, parts = "balanced", [name, *parts]
    most, build = _FORMS[name]
    try:
        if len(parts) > most:
            raise ValueError(f"{name} takes at most {most} values")
        return build(*parts)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cannot read the queries {form!r} ({error}); known forms: {KNOWN}"
        ) from error


def _balanced(rng: np.random.Generator, way: int, *, span: tuple[int, int]) -> Counts:
    return np.full(way, uniform(rng, span), dtype=np.int64)


def _multinomial(rng: np.random.Generator, way: int, *, span: tuple[int, int]) -> Counts:
    return np.bincount(rng.integers(way, size=uniform(rng, span)), minlength=way)


def _single_class(rng: np.random.Generator, way: int, *, span: tuple[int, int]) -> Counts:
    counts = np.zeros(way, dtype=np.int64)
    counts[int(rng.integers(way))] = uniform(rng, span)
    return counts


def _dirichlet(
    rng: np.random.Generator, way: int, *, span: tuple[int, int], concentration: float
) -> Counts:
    return _largest_remainder(rng.dirichlet(np.full(way, concentration)), uniform(rng, span))


def _varied(
    rng: np.random.Generator, way: int, *, span: tuple[int, int], concentration: tuple[float, float]
) -> Counts:
    total = min(int(_log_uniform(rng, float(span[0]), float(span[1] + 1))), span[1])
    # Drawn, not rounded: with as many queries as classes, rounding would often give each class exactly one.
    return rng.multinomial(total, rng.dirichlet(np.full(way, _log_uniform(rng, *concentration))))


def _mixture(rng: np.random.Generator, way: int, *, rules: tuple[QuerySampler, ...]) -> Counts:
    return rules[int(rng.integers(len(rules)))].draw(rng, way)


def _log_uniform(rng: np.random.Generator, lo: float, hi: float) -> float:
    return math.exp(rng.uniform(math.log(lo), math.log(hi)))


def _largest_remainder(proportions: NDArray[np.float64], total: int) -> Counts:
    exact = proportions * total
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts


def _positive(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"concentration is {value}; it must be positive and finite")
    return float(value)


def _span(form: str) -> tuple[int, int]:
    lo, _, hi = form.partition("-")
    return int(lo), int(hi or lo)


def _range(form: str) -> tuple[float, float]:
    lo, _, hi = form.partition("-")
    return float(lo), float(hi or lo)


_FORMS: dict[str, tuple[int, Callable[..., QuerySampler]]] = {
    "balanced": (1, lambda n: balanced(_span(n))),
    "one-per-class": (0, one_per_class),
    "single": (0, single),
    "single-class": (1, lambda n: single_class(_span(n))),
    "multinomial": (1, lambda n: multinomial(_span(n))),
    "dirichlet": (2, lambda n, a="2.0": dirichlet(_span(n), float(a))),
    "varied": (2, lambda n="1-75", a="0.5-100": varied(_span(n), _range(a))),
}
KNOWN = (
    "5 or balanced:5 (per class; 1-15 for a range), one-per-class, single, single-class:75, multinomial:25, "
    "dirichlet:75:2.0, varied:1-75, and several joined by + for a mixture (single+varied:1-75)"
)
