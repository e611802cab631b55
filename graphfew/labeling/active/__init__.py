"""Active learning: which items to label next.

Start with `suggestions.suggest`; a strategy is a function of a `labeling_state.LabelingState`.
"""

from graphfew.labeling.active.coverage import covering_items
from graphfew.labeling.active.field_covariance import (
    changing_items,
    informative_items,
    informative_uncertain_items,
    sum_informative_items,
)
from graphfew.labeling.active.item_graph import ItemGraph, build_item_graph
from graphfew.labeling.active.labeling_state import (
    LabelingState,
    PredictClasses,
    Strategy,
    make_state,
    predict_by_ensemble,
)
from graphfew.labeling.active.recommended import recommended_items
from graphfew.labeling.active.strategies import STRATEGIES, find_strategy, random_items
from graphfew.labeling.active.suggestions import suggest, suggest_from_graph
from graphfew.labeling.active.typicality import typical_items
from graphfew.labeling.active.uncertainty import entropy, smallest_margin, uncertain_items

__all__ = [
    "STRATEGIES",
    "ItemGraph",
    "LabelingState",
    "PredictClasses",
    "Strategy",
    "build_item_graph",
    "changing_items",
    "covering_items",
    "entropy",
    "find_strategy",
    "informative_items",
    "informative_uncertain_items",
    "make_state",
    "predict_by_ensemble",
    "random_items",
    "recommended_items",
    "smallest_margin",
    "suggest",
    "suggest_from_graph",
    "sum_informative_items",
    "typical_items",
    "uncertain_items",
]
