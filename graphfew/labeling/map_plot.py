"""Plot of labeled items: a map of all items, and example images of each class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from graphfew.labeling.item_images import item_image
from graphfew.labeling.label_table import LabelTable
from graphfew.visualization._style import NEUTRAL_COLOR, class_color, class_marker
from graphfew.visualization.projection import principal_plane

Array = NDArray[Any]
MAX_CLASSES_IN_LEGEND = 30
MAX_CLASSES_WITH_IMAGES = 20
_IMAGE_SIDE = 128
# Opacity of predictions at chance level and of certain ones.
MIN_ALPHA, MAX_ALPHA = 0.15, 0.9


def plot_label_map(table: LabelTable, features: Array) -> Figure:
    """Plot labeled items in the plane of their two principal components.

    Each class has a color, a marker, and its name at its mean. Items with a given label have a dark
    outline, predictions of low confidence are pale, and unknown items are gray crosses. If the
    items are images, the most and the least confident image of each class are shown next to the
    map.

    Args:
        table: the labels.
        features: `[n, F]` the encoded items.

    Returns:
        The figure.

    Example:
        >>> import numpy as np, graphfew as gf
        >>> from graphfew.labeling.label_sources import LabelSource
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0]])
        >>> items = LabelSource(("0", "1", "2"), x, "features", ("cat", "dog", None))
        >>> table = gf.labeling.label_items(items, x, gf.FewShotClassifier())
        >>> len(plot_label_map(table, x).subfigs)
        1
    """
    has_images = table.items.kind == "image"
    figure = Figure(figsize=(14 if has_images else 9, 8), layout="constrained")
    n_columns = 2 if has_images else 1
    width_ratios = (3, 2) if has_images else None
    parts = figure.subfigures(1, n_columns, width_ratios=width_ratios, squeeze=False)
    map_figure = parts[0, 0]
    if has_images:
        _draw_images(parts[0, 1], table)
    _draw_map(map_figure.subplots(), table, principal_plane(features))
    caption = "dark outline: given label    ·    pale: low confidence"
    if table.is_unknown.any():
        caption += "    ·    gray cross: unknown"
    map_figure.supxlabel(caption, fontsize=10)
    return figure


def _draw_map(ax: Axes, table: LabelTable, points: Array) -> None:
    classes = table.items.classes
    alpha = _alpha(table.confidence, len(classes))
    unknown = table.is_unknown
    ax.scatter(
        points[unknown, 0],
        points[unknown, 1],
        marker="x",
        color=NEUTRAL_COLOR,
        s=30,
        linewidths=1,
        label="unknown" if unknown.any() else None,
    )
    for index, name in enumerate(classes):
        color, marker = class_color(index), class_marker(index)
        of_class = (table.predicted == index) & ~unknown
        predicted, given = of_class & ~table.is_given, of_class & table.is_given
        ax.scatter(
            points[predicted, 0],
            points[predicted, 1],
            marker=marker,
            s=26,
            linewidths=0,
            color=[to_rgba(color, value) for value in alpha[predicted]],
        )
        ax.scatter(
            points[given, 0],
            points[given, 1],
            marker=marker,
            s=90,
            linewidths=1.6,
            color=color,
            edgecolors="black",
            zorder=3,
            label=name,
        )
        # Every class has an item, since its labels are given: the mean is never empty.
        _draw_class_name(ax, name, points[of_class].mean(0), color)
    if len(classes) <= MAX_CLASSES_IN_LEGEND:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    ax.set(xticks=[], yticks=[], title="Items in the plane of their two principal components")


def _draw_class_name(ax: Axes, name: str, position: Array, color: str) -> None:
    ax.annotate(
        name,
        (float(position[0]), float(position[1])),
        ha="center",
        va="center",
        fontsize=8,
        fontweight="bold",
        zorder=4,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": color, "alpha": 0.8},
    )


def _alpha(confidence: Array, n_classes: int) -> Array:
    """Opacity: lowest for uniform probabilities, highest for a probability of 1."""
    # The largest of n probabilities is at least 1/n.
    chance = 1 / n_classes
    above_chance = ((confidence - chance) / (1 - chance)).clip(0, 1)
    alpha: Array = MIN_ALPHA + (MAX_ALPHA - MIN_ALPHA) * above_chance
    return alpha


def _draw_images(figure: SubFigure, table: LabelTable) -> None:
    """Draw the most and the least confident image of each class among the predicted ones."""
    figure.suptitle("Most and least confident image of each class", fontsize=12)
    # Without items whose label was given: their confidence is 1 by definition.
    members = []
    for index in range(len(table.items.classes)):
        of_class = np.flatnonzero(table.is_predicted & (table.predicted == index))
        if len(of_class):
            members.append(of_class)
    members = members[:MAX_CLASSES_WITH_IMAGES]
    if not members:
        return
    pairs_per_row = 1 if len(members) <= MAX_CLASSES_WITH_IMAGES // 2 else 2
    n_rows = math.ceil(len(members) / pairs_per_row)
    axes = figure.subplots(n_rows, 2 * pairs_per_row, squeeze=False).reshape(-1, 2)
    for ax in axes.ravel():
        ax.axis("off")
    # Not strict: the last row may have an empty pair of axes.
    for of_class, pair in zip(members, axes, strict=False):
        by_confidence = of_class[table.confidence[of_class].argsort(kind="stable")]
        for ax, item in zip(pair, (by_confidence[-1], by_confidence[0]), strict=True):
            # Fixed limits, or matplotlib would stretch the contrast of each gray image.
            image = item_image(table.items.items[item], _IMAGE_SIDE)
            ax.imshow(np.asarray(image), vmin=0, vmax=255)
            name = table.items.classes[table.predicted[item]]
            ax.set_title(f"{name} {table.confidence[item]:.2f}", fontsize=8)
