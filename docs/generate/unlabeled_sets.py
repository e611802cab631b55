"""Tables of the suite of partially labeled sets."""

from __future__ import annotations

from benchmarks.unlabeled_sets import suite_tables
from docs.generate import records


def situations() -> str:
    """Return the best methods by class balance and number of labels."""
    return suite_tables.situations(records.ROOT)


def datasets() -> str:
    """Return the best methods by data set."""
    return suite_tables.kinds_of_data(records.ROOT)
