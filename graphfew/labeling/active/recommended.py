"""The recommended strategy: typical items first, then uncertain ones that inform about others."""

from __future__ import annotations

import numpy as np

from graphfew.labeling.active.field_covariance import informative_uncertain_items
from graphfew.labeling.active.labeling_state import Index, LabelingState, Strategy
from graphfew.labeling.active.typicality import typical_items

# With fewer labels per class, items are chosen by typicality.
MIN_SHOTS = 2


def recommended_items(
    state: LabelingState,
    n: int,
    rng: np.random.Generator,
    *,
    min_shots: float = MIN_SHOTS,
    later: Strategy = informative_uncertain_items,
) -> Index:
    """Suggest typical items while there are few labels, then uncertain items in uncertain regions.

    With fewer than two classes, or fewer than two labels per class, these are `typical_items`, then
    `informative_uncertain_items`.

    Args:
        state: items and labels.
        n: number of items.
        rng: initializes k-means.
        min_shots: labels per class from which on `later` is used.
        later: a strategy that uses a classifier.

    Returns:
        Item indices, best first.

    Example:
        >>> import numpy as np, torch
        >>> from graphfew.labeling.active import build_item_graph, make_state
        >>> x = torch.cat([torch.arange(9.0), 100 + torch.arange(7.0)])[:, None]
        >>> state = make_state(build_item_graph(x), torch.full((16,), -1))
        >>> items = recommended_items(state, 2, np.random.default_rng(0))
        >>> sorted((items >= 9).tolist())  # one of each cluster
        [False, True]

    Source:
        this library's own combination; see `typical_items` and `informative_uncertain_items`.

    Deviations:
        none.
    """
    if state.n_classes < 2 or state.n_labeled < min_shots * state.n_classes:
        return typical_items(state, n, rng)
    return later(state, n, rng)
