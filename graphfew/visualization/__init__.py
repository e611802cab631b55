"""Plots (matplotlib): episode graphs, projections, confusion matrices and training curves.

Start with `episode_graph.plot_graph`.
"""

from graphfew.visualization.confusion import plot_confusion_matrix
from graphfew.visualization.curves import plot_training_curves
from graphfew.visualization.episode_graph import plot_before_after, plot_graph, plot_layers
from graphfew.visualization.projection import plot_projection

__all__ = [
    "plot_before_after",
    "plot_confusion_matrix",
    "plot_graph",
    "plot_layers",
    "plot_projection",
    "plot_training_curves",
]
