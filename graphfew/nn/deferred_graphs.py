"""Graphs of a prediction that are computed when they are first read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import overload

from graphfew._utils.cached_property import cached_property
from graphfew.core.graph import Graph


class DeferredGraphs:
    """Graphs that are computed when one of them is first read; otherwise like a tuple.

    Args:
        compute: returns the graphs.
    """

    def __init__(self, compute: Callable[[], tuple[Graph, ...]]) -> None:
        self._compute = compute

    @cached_property
    def _graphs(self) -> tuple[Graph, ...]:
        return self._compute()

    @overload
    def __getitem__(self, index: int) -> Graph: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Graph, ...]: ...

    def __getitem__(self, index: int | slice) -> Graph | tuple[Graph, ...]:
        """Return one graph, or several."""
        return self._graphs[index]

    def __len__(self) -> int:
        """Return the number of graphs."""
        return len(self._graphs)

    def __iter__(self) -> Iterator[Graph]:
        """Iterate over the graphs."""
        return iter(self._graphs)
