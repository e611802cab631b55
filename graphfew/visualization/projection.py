"""A task's items in the plane in which they lie furthest apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import UNKNOWN, Episode
from graphfew.core.graph import Graph
from graphfew.visualization.episode_graph import CLASS_COLORS, class_letter

Array = NDArray[Any]
MARKERS = ("o", "s", "^", "D", "v", "P", "*")
FREE = "#777777"
# Places of a label beside a point, and the room that one takes, in points.
SIDES, ROOM = ((16, 8), (16, -8), (-16, 8), (-16, -8), (0, 14), (0, -14)), (22, 11)


def plot_projection(
    source: Episode | Graph,
    task: int = 0,
    *,
    answers: Tensor | None = None,
    target: Tensor | None = None,
    names: tuple[str, ...] | list[str] | None = None,
) -> Figure:
    """One task's items, encoded, in the plane of their two principal components.

    A class has a color and a shape. Labeled supports are large, with a dark outline and the class's letter; queries
    small, in the color and shape of their answer, or of their class where no answers are given; wrong ones are hollow
    and crossed out, with the letter of the true class. Queries of which nothing is known are gray circles, unlabeled
    items gray points.

    Args:
        source: an encoded episode (`model.encode(episode)`), or a graph, such as `out.graphs[-1]`, whose items are then
            where the layers moved them.
        task: which of its tasks.
        answers: `[q]` int64, the class answered for each query of the task.
        target: `[q]` int64, the true class of each query of the task.
        names: of the task's classes; letters where None.

    Raises:
        IndexError: no such task.
        ValueError: items that are not encoded, or another number of answers, targets or names than the task has.
    """
    episode = source if isinstance(source, Episode) else source.episode
    first, size = sum(episode.sizes[:task]), episode.sizes[task]
    x = (source.x if isinstance(source, Episode) else source.nodes)[first : first + size]
    if x.ndim != 2 or not x.dtype.is_floating_point:
        raise ValueError(
            f"the items have shape {tuple(x.shape[1:])}, {x.dtype}; give an encoded episode, "
            "model.encode(episode), whose items are features [F]"
        )
    y, query = (values[first : first + size].cpu().numpy() for values in (episode.y, episode.query))
    way = episode.way[task]
    said, true = (
        _of_queries(name, values, query)
        for name, values in (("answers", answers), ("target", target))
    )
    if names is not None and len(names) != way:
        raise ValueError(f"there are {len(names)} names and {way} classes; give one name per class")
    figure = Figure(figsize=(7.6, 6), layout="constrained")
    ax = figure.subplots()
    _draw(ax, principal_plane(x.detach().double().cpu().numpy()), y, query, said, true)
    _legend(
        ax,
        way,
        list(names) if names is not None else [class_letter(c) for c in range(way)],
        [
            said.max() >= 0,
            said.max() < 0 <= true.max(),
            (~query & (y < 0)).any(),
            bool((query & (said < 0) & (true < 0)).any()),
            wrong(said, true).any(),
        ],
    )
    ax.set(xticks=[], yticks=[])
    return figure


def wrong(said: Array, true: Array) -> Array:
    """`[n]` bool: an answer is known, a class is known, and they differ."""
    out: Array = (said >= 0) & (true >= 0) & (said != true)
    return out


def _of_queries(name: str, values: Tensor | None, query: Array) -> Array:
    """The values at the queries' nodes, -1 elsewhere and where there are none."""
    out = np.full(len(query), UNKNOWN)
    if values is None:
        return out
    if len(values) != query.sum():
        raise ValueError(
            f"{name} has {len(values)} entries and the task {int(query.sum())} queries; give one per "
            "query of this task"
        )
    out[query] = values.cpu().numpy()
    return out


def _draw(ax: Axes, at: Array, y: Array, query: Array, said: Array, true: Array) -> None:
    free = ~query & (y < 0)
    _mark(ax, at[free], s=12, color=FREE, linewidths=0, label="unlabeled")
    shown = np.where(said >= 0, said, true)
    nothing = query & (shown < 0)
    _mark(ax, at[nothing], s=40, facecolors="none", edgecolors=FREE, label="queries")
    missed = wrong(said, true)
    for c in sorted({*y[y >= 0].tolist(), *shown[shown >= 0].tolist()}):
        color, marker = CLASS_COLORS[c % len(CLASS_COLORS)], MARKERS[c % len(MARKERS)]
        right, off, own = query & (shown == c) & ~missed, query & (shown == c) & missed, y == c
        _mark(
            ax,
            at[right],
            s=42,
            marker=marker,
            color=color,
            linewidths=0,
            label=f"right {c}",
            zorder=2,
        )
        _mark(
            ax,
            at[off],
            s=60,
            marker=marker,
            facecolors="none",
            edgecolors=color,
            linewidths=1.8,
            label=f"wrong {c}",
            zorder=2.5,
        )
        _mark(
            ax,
            at[own],
            s=170,
            marker=marker,
            color=color,
            edgecolors="black",
            linewidths=1.6,
            label=f"support {c}",
            zorder=3,
        )
        for place in at[own]:
            ax.annotate(
                class_letter(c),
                place,
                ha="center",
                va="center",
                fontsize=8,
                fontweight="bold",
                color="white",
                zorder=4,
            )
    _name_wrong(ax, at[missed], [class_letter(c) for c in true[missed].tolist()])


def _mark(ax: Axes, at: Array, **style: Any) -> None:
    ax.scatter(at[:, 0], at[:, 1], **style)


def _name_wrong(ax: Axes, at: Array, letters: list[str]) -> None:
    """A cross and the true class beside each point, on a side where no other such label stands yet."""
    taken: list[Array] = []
    ax.autoscale_view()
    points = ax.transData.transform(at) * 72 / ax.figure.dpi
    for number in np.argsort(-points[:, 1], kind="stable"):
        place = points[number]
        free = [
            side
            for side in SIDES
            if all((np.abs(place + side - other) > ROOM).any() for other in taken)
        ]
        side = (free or SIDES)[0]
        taken.append(place + side)
        ax.annotate(
            f"✗ {letters[number]}",
            (at[number, 0], at[number, 1]),
            xytext=side,
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            ha="center",
            va="center",
            zorder=5,
        )


def _legend(ax: Axes, way: int, names: list[str], shown: list[Any]) -> None:
    """Classes by color and shape, then what sizes and outlines mean, of which some may not be there."""
    gray: dict[str, Any] = {"linestyle": "none", "color": FREE}
    lines = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[c % len(MARKERS)],
            color=CLASS_COLORS[c % len(CLASS_COLORS)],
            markersize=8,
            label=names[c] if names[c] == class_letter(c) else f"{class_letter(c)}  {names[c]}",
        )
        for c in range(way)
    ]
    lines += [
        Line2D(
            [],
            [],
            marker="o",
            markersize=11,
            markeredgecolor="black",
            markeredgewidth=1.6,
            label="labeled support",
            **gray,
        )
    ]
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("query, by its answer", {"marker": "o", "markersize": 6}),
        ("query, by its class", {"marker": "o", "markersize": 6}),
        ("unlabeled", {"marker": ".", "markersize": 5}),
        ("query, nothing known", {"marker": "o", "markersize": 6, "markerfacecolor": "none"}),
        (
            "✗ X: wrong, the true class is X",
            {"marker": "o", "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.8},
        ),
    ]
    lines += [
        Line2D([], [], label=label, **gray, **style)
        for (label, style), there in zip(kinds, shown, strict=True)
        if there
    ]
    ax.legend(handles=lines, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9, frameon=False)


def principal_plane(x: Array) -> Array:
    """`[n, 2]`: items `x [n, F]`, brought to length 1, in the plane in which they lie furthest apart."""
    from sklearn.decomposition import PCA  # scikit-learn takes a second to import

    unit = x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)
    found = PCA(min(2, *unit.shape), random_state=0).fit_transform(unit)
    out: Array = np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
    return out
