"""Projection of a task's items onto their two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import UNKNOWN, Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.visualization._style import NEUTRAL_COLOR, class_color, class_letter, class_marker

Array = NDArray[Any]
# Candidate offsets of a label from its point, and the size of a label, in points.
LABEL_OFFSETS = ((16, 8), (16, -8), (-16, 8), (-16, -8), (0, 14), (0, -14))
LABEL_SIZE = (22, 11)


def plot_projection(
    source: Episode | Graph,
    task: int = 0,
    *,
    predictions: Tensor | None = None,
    target: Tensor | None = None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Plot the encoded items of one task in the plane of their two principal components.

    A class has a color and a marker. Labeled support items are large with a dark outline and the
    letter of their class. Queries are small, with color and marker of the predicted class, or of
    the true class without predictions; wrong predictions are hollow, with a cross and the letter of
    the true class. Queries without either are gray circles, unlabeled items gray dots.

    Args:
        source: an encoded episode (`model.encode(episode)`), or a graph such as `out.graphs[-1]`,
            whose nodes are the items after its layers.
        task: index of the task.
        predictions: `[q]` int64, the predicted class of each query of the task.
        target: `[q]` int64, the true class of each query of the task.
        names: names of the classes of the task; None uses letters.

    Returns:
        The figure.

    Raises:
        IndexError: `task` is out of range.
        InvalidInputError: the items are not encoded, or the number of predictions, targets or names
            does not match the task.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(4), torch.tensor([0, 1, -1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> figure = plot_projection(episode, predictions=torch.tensor([0, 1]))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['A', 'B']
    """
    episode = source if isinstance(source, Episode) else source.episode
    features = source.x if isinstance(source, Episode) else source.nodes
    start, size = sum(episode.sizes[:task]), episode.sizes[task]
    x = features[start : start + size]
    if x.ndim != 2 or not x.dtype.is_floating_point:
        raise InvalidInputError(
            f"the items have shape {tuple(x.shape[1:])}, {x.dtype}; give an encoded episode, "
            "model.encode(episode), whose items are features [F]"
        )
    way = episode.way[task]
    if names is None:
        names = [class_letter(c) for c in range(way)]
    if len(names) != way:
        raise InvalidInputError(
            f"there are {len(names)} names and {way} classes; give one name per class"
        )
    is_query = episode.query[start : start + size].cpu().numpy()
    nodes = _Nodes(
        points=principal_plane(x.detach().double().cpu().numpy()),
        label=episode.y[start : start + size].cpu().numpy(),
        is_query=is_query,
        predicted=_scatter_to_nodes("predictions", predictions, is_query),
        true_class=_scatter_to_nodes("target", target, is_query),
    )
    figure = Figure(figsize=(7.6, 6), layout="constrained")
    ax = figure.subplots()
    _draw_nodes(ax, nodes)
    _draw_legend(ax, list(names), nodes)
    ax.set(xticks=[], yticks=[])
    return figure


def principal_plane(x: Array) -> Array:
    """`[n, 2]`: the first two principal components of items `x [n, F]`, scaled to length 1."""
    from sklearn.decomposition import PCA  # imported here because it takes a second

    unit = x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)
    # PCA may choose a randomized solver. Tiny tasks have fewer than two components; pad them.
    components = PCA(min(2, *unit.shape), random_state=0).fit_transform(unit)
    plane: Array = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    return plane


class _Nodes:
    """Position, classes and role of each node; classes are -1 if unknown."""

    def __init__(
        self, points: Array, label: Array, is_query: Array, predicted: Array, true_class: Array
    ) -> None:
        self.points = points
        self.label = label
        self.is_query = is_query
        self.predicted = predicted
        self.true_class = true_class
        self.is_unlabeled = ~is_query & (label < 0)
        self.is_wrong = (predicted >= 0) & (true_class >= 0) & (predicted != true_class)
        # The class whose color a query has.
        self.shown = np.where(predicted >= 0, predicted, true_class)


def _scatter_to_nodes(name: str, values: Tensor | None, is_query: Array) -> Array:
    """The values at the positions of the queries, -1 elsewhere."""
    at_nodes = np.full(len(is_query), UNKNOWN)
    if values is None:
        return at_nodes
    if len(values) != is_query.sum():
        raise InvalidInputError(
            f"{name} has {len(values)} entries and the task {int(is_query.sum())} queries; give one "
            "per query of this task"
        )
    at_nodes[is_query] = values.cpu().numpy()
    return at_nodes


def _draw_nodes(ax: Axes, nodes: _Nodes) -> None:
    points = nodes.points
    _scatter(
        ax, points[nodes.is_unlabeled], s=12, color=NEUTRAL_COLOR, linewidths=0, label="unlabeled"
    )
    unknown = nodes.is_query & (nodes.shown < 0)
    _scatter(
        ax, points[unknown], s=40, facecolors="none", edgecolors=NEUTRAL_COLOR, label="queries"
    )
    classes = {*nodes.label[nodes.label >= 0].tolist(), *nodes.shown[nodes.shown >= 0].tolist()}
    for c in sorted(classes):
        _draw_class(ax, nodes, c)
    letters = [class_letter(c) for c in nodes.true_class[nodes.is_wrong].tolist()]
    _label_wrong(ax, points[nodes.is_wrong], letters)


def _draw_class(ax: Axes, nodes: _Nodes, c: int) -> None:
    color, marker = class_color(c), class_marker(c)
    is_query_of_class = nodes.is_query & (nodes.shown == c)
    is_support = nodes.label == c
    _scatter(
        ax,
        nodes.points[is_query_of_class & ~nodes.is_wrong],
        s=42,
        marker=marker,
        color=color,
        linewidths=0,
        label=f"correct {c}",
        zorder=2,
    )
    _scatter(
        ax,
        nodes.points[is_query_of_class & nodes.is_wrong],
        s=60,
        marker=marker,
        facecolors="none",
        edgecolors=color,
        linewidths=1.8,
        label=f"wrong {c}",
        zorder=2.5,
    )
    _scatter(
        ax,
        nodes.points[is_support],
        s=170,
        marker=marker,
        color=color,
        edgecolors="black",
        linewidths=1.6,
        label=f"support {c}",
        zorder=3,
    )
    for point in nodes.points[is_support]:
        ax.annotate(
            class_letter(c),
            point,
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color="white",
            zorder=4,
        )


def _scatter(ax: Axes, points: Array, **style: Any) -> None:
    ax.scatter(points[:, 0], points[:, 1], **style)


def _label_wrong(ax: Axes, points: Array, letters: list[str]) -> None:
    """Draw a cross and the true class next to each point, where they overlap no earlier label."""
    used: list[Array] = []
    # Label sizes are in points of the page, so the data limits must be final.
    ax.autoscale_view()
    on_page = ax.transData.transform(points) * 72 / ax.figure.dpi
    # From top to bottom, so that the result does not depend on the order of the queries.
    for index in np.argsort(-on_page[:, 1], kind="stable"):
        offset = LABEL_OFFSETS[0]
        for candidate in LABEL_OFFSETS:
            gaps = [np.abs(on_page[index] + candidate - other) for other in used]
            # Two labels overlap only if they are close in both directions.
            if all((gap > LABEL_SIZE).any() for gap in gaps):
                offset = candidate
                break
        used.append(on_page[index] + offset)
        ax.annotate(
            f"✗ {letters[index]}",
            (points[index, 0], points[index, 1]),
            xytext=offset,
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            ha="center",
            va="center",
            zorder=5,
        )


def _draw_legend(ax: Axes, names: list[str], nodes: _Nodes) -> None:
    """Classes by color and marker, then the meaning of the sizes and outlines that occur."""
    handles = []
    for c, name in enumerate(names):
        letter = class_letter(c)
        handles.append(
            _handle(
                letter if name == letter else f"{letter}  {name}",
                marker=class_marker(c),
                color=class_color(c),
                markersize=8,
            )
        )
    handles.append(
        _handle("labeled support", markersize=11, markeredgecolor="black", markeredgewidth=1.6)
    )
    if nodes.predicted.max() >= 0:
        handles.append(_handle("query, by predicted class", markersize=6))
    elif nodes.true_class.max() >= 0:
        handles.append(_handle("query, by true class", markersize=6))
    if nodes.is_unlabeled.any():
        handles.append(_handle("unlabeled", marker=".", markersize=5))
    if (nodes.is_query & (nodes.shown < 0)).any():
        handles.append(_handle("query, class unknown", markersize=6, markerfacecolor="none"))
    if nodes.is_wrong.any():
        handles.append(
            _handle(
                "✗ X: wrong, the true class is X",
                markersize=7,
                markerfacecolor="none",
                markeredgewidth=1.8,
            )
        )
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9, frameon=False)


def _handle(label: str, marker: str = "o", color: str = NEUTRAL_COLOR, **style: Any) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, color=color, label=label, **style)
