"""Strategies by name, for the command line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphfew.errors import InvalidInputError
from graphfew.labeling.active.coverage import covering_items
from graphfew.labeling.active.field_covariance import (
    changing_items,
    informative_items,
    informative_uncertain_items,
    sum_informative_items,
)
from graphfew.labeling.active.labeling_state import Index, LabelingState, Strategy
from graphfew.labeling.active.recommended import recommended_items
from graphfew.labeling.active.typicality import typical_items
from graphfew.labeling.active.uncertainty import uncertain_items, uncertain_items_by_entropy


def random_items(state: LabelingState, n: int, rng: np.random.Generator) -> Index:
    """Suggest random items.

    Args:
        state: items and labels.
        n: number of items.
        rng: draws them.

    Returns:
        Item indices.

    Example:
        >>> import numpy as np, torch
        >>> from graphfew.labeling.active import build_item_graph, make_state
        >>> state = make_state(build_item_graph(torch.eye(3)), torch.tensor([-1, 0, -1]))
        >>> sorted(random_items(state, 2, np.random.default_rng(0)).tolist())
        [0, 2]
    """
    chosen: Index = rng.permutation(state.candidates.numpy())[:n]
    return chosen


STRATEGIES: Mapping[str, Strategy] = {
    "recommended": recommended_items,
    "typical": typical_items,
    "coverage": covering_items,
    "margin": uncertain_items,
    "entropy": uncertain_items_by_entropy,
    "vopt": informative_items,
    "sigma-optimality": sum_informative_items,
    "model-change": changing_items,
    "mc-vopt": informative_uncertain_items,
    "random": random_items,
}


def find_strategy(name: str) -> Strategy:
    """Return the strategy of a name.

    Args:
        name: a name in `STRATEGIES`.

    Returns:
        The strategy.

    Raises:
        InvalidInputError: the name is unknown.

    Example:
        >>> find_strategy("typical").__name__
        'typical_items'
    """
    if name not in STRATEGIES:
        raise InvalidInputError(
            f"unknown strategy {name!r}; expected one of {', '.join(STRATEGIES)}"
        )
    return STRATEGIES[name]
