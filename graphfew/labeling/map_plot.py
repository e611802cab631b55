"""A picture of a labeled pile: its items in a plane, and the surest and the least sure image of each class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from graphfew.labeling.label_items import LabelTable
from graphfew.visualization._style import CLASS_COLORS, CLASS_MARKERS
from graphfew.visualization.projection import principal_plane

Array = NDArray[Any]
# As many as are told apart, and no divisor in common with the number of colors: 56 classes look different.
IN_LEGEND, IN_SHEET = 30, 20
PALEST = 0.15


def plot_label_map(labeling: LabelTable, x: Array) -> Figure:
    """The items of a labeled pile: one color and mark per class, whose name stands at its mean.

    Items whose label was given have a dark outline, unsure ones are pale, unknown ones gray crosses. Where items are
    images, a sheet beside it shows the surest and the least sure one of each class.

    Args:
        labeling: what is drawn.
        x: `[n, F]` its items, encoded.
    """
    images = labeling.pile.x.ndim == 4
    figure = Figure(figsize=(14 if images else 9, 8), layout="constrained")
    parts = figure.subfigures(
        1, 2 if images else 1, width_ratios=(3, 2) if images else None, squeeze=False
    )
    if images:
        _draw_sheet(parts[0, 1], labeling)
    left = parts[0, 0]
    _draw_items(left.subplots(), labeling, principal_plane(x))
    left.supxlabel(
        "dark outline: label was given    ·    pale: unsure"
        + ("    ·    gray cross: unknown" if labeling.unknown.any() else ""),
        fontsize=10,
    )
    return figure


def _draw_items(ax: Axes, labeling: LabelTable, at: Array) -> None:
    classes = labeling.pile.classes
    alpha = _alpha(labeling.confidence, len(classes))
    far = labeling.unknown
    ax.scatter(
        at[far, 0],
        at[far, 1],
        marker="x",
        color="#777777",
        s=30,
        linewidths=1,
        label="unknown" if far.any() else None,
    )
    for index, name in enumerate(classes):
        marker, color = (
            CLASS_MARKERS[index % len(CLASS_MARKERS)],
            CLASS_COLORS[index % len(CLASS_COLORS)],
        )
        own = (labeling.best == index) & ~far
        new, old = own & ~labeling.given, own & labeling.given
        pale = [to_rgba(color, a) for a in alpha[new]]
        ax.scatter(at[new, 0], at[new, 1], marker=marker, s=26, linewidths=0, color=pale)
        ax.scatter(
            at[old, 0],
            at[old, 1],
            marker=marker,
            s=90,
            linewidths=1.6,
            color=color,
            edgecolors="black",
            zorder=3,
            label=name,
        )
        ax.annotate(
            name,
            at[own].mean(0),
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            zorder=4,
            bbox={
                "boxstyle": "round,pad=0.15",
                "facecolor": "white",
                "edgecolor": color,
                "alpha": 0.8,
            },
        )
    if len(classes) <= IN_LEGEND:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    ax.set(xticks=[], yticks=[], title="Items in the plane in which they lie furthest apart")


def _alpha(confidence: Array, way: int) -> Array:
    """From palest, where all classes are alike, to full, where one has it all."""
    out: Array = PALEST + (0.9 - PALEST) * ((confidence - 1 / way) / (1 - 1 / way)).clip(0, 1)
    return out


def _draw_sheet(figure: SubFigure, labeling: LabelTable) -> None:
    """Of each class the surest and the least sure image among those that were labeled now."""
    shown = [
        i
        for i in range(len(labeling.pile.classes))
        if (labeling.answered & (labeling.best == i)).any()
    ]
    shown, across = shown[:IN_SHEET], 1 if len(shown) <= IN_SHEET // 2 else 2
    figure.suptitle("Of each class: the surest, the least sure", fontsize=12)
    if not shown:
        return
    grid = figure.subplots(math.ceil(len(shown) / across), 2 * across, squeeze=False)
    cells = grid.reshape(-1, 2)
    for ax in cells.ravel():
        ax.axis("off")
    for index, pair in zip(shown, cells, strict=False):
        own = np.flatnonzero(labeling.answered & (labeling.best == index))
        order = own[labeling.confidence[own].argsort(kind="stable")]
        for ax, item in zip(pair, (order[-1], order[0]), strict=True):
            ax.imshow(_picture(labeling.pile.x[item]), cmap="gray", vmin=0, vmax=255)
            ax.set_title(
                f"{labeling.pile.classes[index]} {labeling.confidence[item]:.2f}", fontsize=8
            )


def _picture(image: Array) -> Array:
    out: Array = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return out
