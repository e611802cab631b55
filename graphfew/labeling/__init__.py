"""Labels for partially labeled files and folders, and suggestions of items to label.

Start with `label_items.label_items` and `active.suggest.suggest`.
"""

from typing import TYPE_CHECKING

from graphfew.labeling.active import (
    STRATEGIES,
    ItemGraph,
    LabelingState,
    build_item_graph,
    find_strategy,
    suggest,
    suggest_from_graph,
    typical_items,
    uncertain_items,
)
from graphfew.labeling.label_items import LabelTable, label_items, write_table

if TYPE_CHECKING:
    from graphfew.labeling.map_plot import plot_label_map
else:

    def __getattr__(name):
        # On first use only: matplotlib takes a second to import, which `graphfew label` needs
        # for --picture alone.
        if name != "plot_label_map":
            raise AttributeError(f"module 'graphfew.labeling' has no attribute {name!r}")
        from graphfew.labeling.map_plot import plot_label_map

        return plot_label_map


__all__ = [
    "STRATEGIES",
    "ItemGraph",
    "LabelTable",
    "LabelingState",
    "build_item_graph",
    "find_strategy",
    "label_items",
    "plot_label_map",
    "suggest",
    "suggest_from_graph",
    "typical_items",
    "uncertain_items",
    "write_table",
]
