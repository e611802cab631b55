"""Active learning: which items to label next.

Start with `suggest.suggest`; a strategy is a function of a `labeling_state.LabelingState`.
"""

from graphfew.labeling.active.item_graph import ItemGraph, build_item_graph
from graphfew.labeling.active.labeling_state import (
    LabelingState,
    PredictClasses,
    Strategy,
    make_state,
    predict_by_ensemble,
)
from graphfew.labeling.active.strategies import STRATEGIES, find_strategy
from graphfew.labeling.active.suggest import suggest, suggest_from_graph
from graphfew.labeling.active.typicality import typical_items
from graphfew.labeling.active.uncertainty import smallest_margin, uncertain_items

__all__ = [
    "STRATEGIES",
    "ItemGraph",
    "LabelingState",
    "PredictClasses",
    "Strategy",
    "build_item_graph",
    "find_strategy",
    "make_state",
    "predict_by_ensemble",
    "smallest_margin",
    "suggest",
    "suggest_from_graph",
    "typical_items",
    "uncertain_items",
]
