"""The recommended strategy: typical items first, then uncertain ones."""

from __future__ import annotations

import numpy as np

from graphfew.labeling.active.labeling_state import Index, LabelingState
from graphfew.labeling.active.typicality import typical_items
from graphfew.labeling.active.uncertainty import uncertain_items

# With fewer labels per class, items are chosen by typicality.
MIN_SHOTS = 2


def recommended_items(state: LabelingState, n: int, rng: np.random.Generator) -> Index:
    """Suggest typical items while there are few labels, then uncertain ones.

    Args:
        state: items and labels.
        n: number of items.
        rng: initializes k-means and breaks ties.

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
    """
    if state.n_classes < 2 or state.n_labeled < MIN_SHOTS * state.n_classes:
        return typical_items(state, n, rng)
    return uncertain_items(state, n, rng)
