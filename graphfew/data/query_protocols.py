"""Protocols of query samplers, which decide how many queries of each class a task has."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


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
        >>> import graphfew as gf
        >>> isinstance(gf.data.balanced(5), QuerySampler)
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
        >>> import graphfew as gf
        >>> isinstance(gf.data.effective_classes((5, 10)), PoolSampler)
        True
    """

    @property
    def min_classes(self) -> int: ...

    def draw_from(self, rng: np.random.Generator, capacity: Counts, /) -> Counts:
        """Draw the number of queries of each class, `[way]` int64, none above `capacity`."""
        ...
