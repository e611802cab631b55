"""Whole numbers given as one value or as an inclusive range `(lo, hi)`."""

from __future__ import annotations

import numpy as np

IntRange = int | tuple[int, int]


def bounds(name: str, span: object, least: int) -> tuple[int, int]:
    """`(lo, hi)` of an int or an inclusive range.

    Raises:
        ValueError: not an int or a pair of ints, `lo > hi`, or `lo < least`; `name` names the argument.
    """
    values = tuple(span) if isinstance(span, tuple | list) else (span, span)
    if len(values) != 2 or not all(
        isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values
    ):
        raise ValueError(f"{name} is {span!r}; give an int or an inclusive range (lo, hi) of ints")
    lo, hi = (int(v) for v in values)
    if lo > hi or lo < least:
        raise ValueError(
            f"{name} is {span!r}; it must be at least {least}, and a range must run from low to high"
        )
    return lo, hi


def uniform(rng: np.random.Generator, span: tuple[int, int]) -> int:
    """An int drawn uniformly from an inclusive range; a range of one value draws nothing from `rng`."""
    lo, hi = span
    return lo if lo == hi else int(rng.integers(lo, hi + 1))


def text(span: tuple[int, int]) -> str:
    """`5` or `1-75`."""
    lo, hi = span
    return str(lo) if lo == hi else f"{lo}-{hi}"
