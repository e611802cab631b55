"""Tables of the page on active learning."""

from __future__ import annotations

from benchmarks.active_learning import summary
from docs.generate import records


def strategies() -> str:
    """Return the differences of all strategies to random choice."""
    return summary.differences(records.ROOT)


def scale() -> str:
    """Return processor time and memory with many items."""
    return summary.scale(records.ROOT)
