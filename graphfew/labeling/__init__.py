"""Labels for partially labeled files and folders, as `graphfew label` writes them.

Start with `label_items.label_items`.
"""

from typing import TYPE_CHECKING

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


__all__ = ["LabelTable", "label_items", "plot_label_map", "write_table"]
