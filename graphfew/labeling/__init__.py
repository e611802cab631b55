"""Labels for partially labeled files, folders and tables, and suggestions of items to label.

Start with `label_sources.read_source`, `label_table.label_items` and `active.suggestions.suggest`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from graphfew.labeling.source_options import SourceOptions

if TYPE_CHECKING:
    from graphfew.labeling.active import (
        STRATEGIES,
        ItemGraph,
        LabelingState,
        PredictClasses,
        Strategy,
        build_item_graph,
        covering_items,
        find_strategy,
        informative_items,
        informative_uncertain_items,
        make_state,
        recommended_items,
        suggest,
        suggest_from_graph,
        typical_items,
        uncertain_items,
    )
    from graphfew.labeling.label_conflicts import LabelConflicts, find_label_conflicts
    from graphfew.labeling.label_files import write_table
    from graphfew.labeling.label_sources import LabelSource, read_source
    from graphfew.labeling.label_table import LabelTable, label_items
    from graphfew.labeling.map_plot import plot_label_map
    from graphfew.labeling.report_page import write_report
else:
    # On first use only: scikit-learn and matplotlib take seconds to import, and the commands need
    # only `SourceOptions` to start.
    _MODULES = {
        "active": (
            "ItemGraph",
            "LabelingState",
            "PredictClasses",
            "STRATEGIES",
            "Strategy",
            "build_item_graph",
            "covering_items",
            "find_strategy",
            "informative_items",
            "informative_uncertain_items",
            "make_state",
            "recommended_items",
            "suggest",
            "suggest_from_graph",
            "typical_items",
            "uncertain_items",
        ),
        "label_files": ("write_table",),
        "label_table": ("LabelTable", "label_items"),
        "label_conflicts": ("LabelConflicts", "find_label_conflicts"),
        "map_plot": ("plot_label_map",),
        "report_page": ("write_report",),
        "label_sources": ("LabelSource", "read_source"),
    }

    def __getattr__(name):
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"graphfew.labeling.{module}"), name)
        raise AttributeError(f"module 'graphfew.labeling' has no attribute {name!r}")


__all__ = [
    "STRATEGIES",
    "ItemGraph",
    "LabelConflicts",
    "LabelSource",
    "LabelTable",
    "LabelingState",
    "PredictClasses",
    "SourceOptions",
    "Strategy",
    "build_item_graph",
    "covering_items",
    "find_label_conflicts",
    "find_strategy",
    "informative_items",
    "informative_uncertain_items",
    "label_items",
    "make_state",
    "plot_label_map",
    "read_source",
    "recommended_items",
    "suggest",
    "suggest_from_graph",
    "typical_items",
    "uncertain_items",
    "write_report",
    "write_table",
]
