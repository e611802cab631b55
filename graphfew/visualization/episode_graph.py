"""Drawing an episode's graph with networkx and matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage, TextArea
from numpy.typing import NDArray
from torch import Tensor

from graphfew.convert.networkx import TaskGraph, to_networkx
from graphfew.core.graph import Graph
from graphfew.nn.method import MethodOutput

Positions = Mapping[int, Any]
# Okabe and Ito's colors, told apart by most people; letters carry the same information.
CLASS_COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#B8A800",
    "#000000",
)
FAINTEST = 0.06


def spring_positions(net: TaskGraph, seed: int = 0) -> Positions:
    """Positions that pull strongly joined nodes together without one hiding another; the same for a seed."""
    strong: TaskGraph = nx.Graph(net)
    strong.remove_edges_from([(a, b) for a, b in net.edges if net.edges[a, b]["weight"] < 0.1])
    positions: Positions = nx.spring_layout(
        strong, weight="weight", seed=seed, iterations=300, k=2.2 / max(len(net), 1) ** 0.5
    )
    return _apart(positions)


def _apart(positions: Positions, gap: float = 0.26) -> Positions:
    """The positions, on a square of side 2, pushed apart until no two are much nearer than `gap`."""
    nodes = list(positions)
    at = np.array([positions[node] for node in nodes], dtype=float).reshape(-1, 2)
    for _ in range(200):
        away = at[:, None] - at[None]
        distance = np.linalg.norm(away, axis=-1)
        near = (distance < gap) & ~np.eye(len(at), dtype=bool)
        if not near.any():
            break
        push = np.where(near, (gap - distance) / 2 / np.maximum(distance, 1e-6), 0)
        at = at + 0.5 * (push[..., None] * away).sum(1)
    return dict(zip(nodes, at, strict=True))


def circle_positions(net: TaskGraph) -> Positions:
    """Positions on a circle, supports first, class by class."""
    order = sorted(net, key=lambda n: (net.nodes[n]["query"], net.nodes[n]["label"], n))
    ring: TaskGraph = nx.Graph()
    ring.add_nodes_from(order)
    positions: Positions = nx.circular_layout(ring)
    return positions


def plot_graph(
    graph: Graph,
    task: int = 0,
    *,
    ax: Axes | None = None,
    images: Tensor | None = None,
    answers: Tensor | None = None,
    target: Tensor | None = None,
    positions: Positions | None = None,
    strongest: float = 1.0,
    seed: int = 0,
) -> Axes:
    """One task of a graph: nodes as pictures, edges as dark as their channel 0 is large.

    Labeled supports have a square frame and their class's letter; queries a round one, with the letter of the answer
    in lower case, and a cross where the target differs; unlabeled nodes a dotted frame.

    Args:
        graph: any graph over an episode.
        task: which of its tasks.
        ax: where to draw; a new figure where None, which is `ax.figure` and which matplotlib does not keep.
        images: `[n, 1 or 3, h, w]` in `[0, 1]`, the task's items; small boxes where None.
        answers: `[q]` int64, the class answered for each query of the task.
        target: `[q]` int64, the true class of each query of the task.
        positions: of each node of the task; a spring layout of the edges where None.
        strongest: the edge value drawn darkest.
        seed: of the layout.

    Raises:
        IndexError: no such task.
        ValueError: another number of images, answers or targets than the task has items or queries.
    """
    net = to_networkx(graph, task)
    queries = [n for n in net if net.nodes[n]["query"]]
    _check_length("images", images, len(net), "items")
    _check_length("answers", answers, len(queries), "queries")
    _check_length("target", target, len(queries), "queries")
    ax = Figure(figsize=(6, 6)).add_axes((0.01, 0.01, 0.98, 0.98)) if ax is None else ax
    place = positions if positions is not None else spring_positions(net, seed)
    _draw_edges(net, place, ax, strongest)
    said = dict(zip(queries, answers.tolist(), strict=True)) if answers is not None else {}
    truth = dict(zip(queries, target.tolist(), strict=True)) if target is not None else {}
    middle = np.mean([place[node] for node in net], axis=0)
    for node in net:
        _draw_node(
            ax,
            net.nodes[node],
            place[node],
            None if images is None else images[node],
            said.get(node),
            truth.get(node),
            _outwards(np.asarray(place[node]) - middle),
        )
    ax.set_aspect("equal")
    ax.margins(0.14)
    ax.axis("off")
    return ax


def _draw_edges(net: TaskGraph, place: Positions, ax: Axes, strongest: float) -> None:
    edges = [edge for edge in net.edges if net.edges[edge]["weight"] > FAINTEST]
    if not edges:
        return
    strength = (
        np.array([net.edges[edge]["weight"] for edge in edges]).clip(0, strongest) / strongest
    )
    nx.draw_networkx_edges(
        net,
        place,
        ax=ax,
        edgelist=edges,
        edge_color="#222222",
        width=list(0.3 + 2.4 * strength),
        alpha=list(0.85 * strength**2),
    )


def _outwards(way: NDArray[Any]) -> tuple[float, float]:
    """Where a node's letter stands, in points from the node: away from the middle, where no neighbor is."""
    length = np.linalg.norm(way)
    if length < 0.2:
        return 0.0, -24.0
    return float(31 * way[0] / length), float(25 * way[1] / length)


def _draw_node(
    ax: Axes,
    node: Mapping[str, Any],
    place: Any,
    image: Tensor | None,
    said: int | None,
    truth: int | None,
    letter_at: tuple[float, float],
) -> None:
    label = node["label"] if node["label"] >= 0 else said
    color = CLASS_COLORS[label % len(CLASS_COLORS)] if label is not None else "#777777"
    shape = "round,pad=0.25" if node["query"] else "square,pad=0.12"
    line = "dotted" if node["label"] < 0 and not node["query"] else "solid"
    frame = {
        "edgecolor": color,
        "linewidth": 1.6 if node["query"] else 3.0,
        "linestyle": line,
        "facecolor": "white",
        "boxstyle": shape,
    }
    shade = Normalize(0, 1)
    box = (
        TextArea("   ")
        if image is None
        else OffsetImage(_picture(image), zoom=0.85, cmap="gray_r", norm=shade)
    )
    ax.add_artist(AnnotationBbox(box, (place[0], place[1]), bboxprops=frame, pad=0.15))
    wrong = truth is not None and said is not None and truth != said
    text = (
        ""
        if label is None
        else (class_letter(label).lower() if node["query"] else class_letter(label))
    )
    ax.annotate(
        text + (f" ✗ {class_letter(truth)}" if wrong and truth is not None else ""),
        (place[0], place[1]),
        xytext=letter_at,
        textcoords="offset points",
        ha="center",
        va="center",
        color=color,
        fontsize=9,
        fontweight="bold",
        zorder=5,
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


def _picture(image: Tensor) -> NDArray[Any]:
    pixels = image.detach().float().cpu().movedim(0, -1).numpy()
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def class_letter(index: int) -> str:
    """What a class is called in pictures: A, B, C and so on, and its number after Z."""
    return chr(ord("A") + index) if index < 26 else str(index)


def plot_before_after(
    out: MethodOutput,
    task: int = 0,
    *,
    images: Tensor | None = None,
    target: Tensor | None = None,
    seed: int = 0,
) -> Figure:
    """One task of a transductive output: its first graph on a circle, and its last one where the edges pull it.

    Args:
        out: of a method whose graphs hold whole tasks.
        task: which task.
        images: `[n, 1 or 3, h, w]`, its items.
        target: `[q]` int64, the true class of each of its queries.
        seed: of the layout.

    Raises:
        IndexError, ValueError: as `draw` does.
    """
    figure = Figure(figsize=(15, 7.6))
    # Not constrained, as in `layer_by_layer`.
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.07, top=0.94, wspace=0.02)
    left, right = figure.subplots(1, 2)
    queries = out.graphs[0].episode.n_queries
    first = sum(queries[:task])
    answers = out.logits[first : first + queries[task]].argmax(1)
    plot_graph(
        out.graphs[0],
        task,
        ax=left,
        images=images,
        positions=circle_positions(to_networkx(out.graphs[0], task)),
    )
    plot_graph(
        out.graphs[-1], task, ax=right, images=images, answers=answers, target=target, seed=seed
    )
    left.set_title(
        "Before: an edge is dark where two labels are known and agree; gray: not known", fontsize=12
    )
    right.set_title(f"After {len(out.graphs) - 1} layers: dark means 'same class'", fontsize=12)
    figure.supxlabel(
        "square frame, capital letter: labeled support    ·    round frame, small letter: query and its "
        "answer    ·    ✗ X: wrong, the true class is X",
        fontsize=10,
    )
    return figure


def plot_layers(
    out: MethodOutput,
    task: int = 0,
    *,
    images: Tensor | None = None,
    target: Tensor | None = None,
    positions: Positions | None = None,
    strongest: float | None = 1.0,
) -> Figure:
    """One task of an output before the first layer and after each, every node in one place throughout.

    Answers stand in the last picture alone, where they are given. Class nodes are not drawn.

    Args:
        out: of a method whose graphs hold whole tasks.
        task: which task.
        images: `[n, 1 or 3, h, w]` in `[0, 1]`, its items; small boxes where None.
        target: `[q]` int64, the true class of each of its queries.
        positions: of each node; where None a circle, on which each class stands together as far as it is known.
        strongest: the edge value drawn darkest; None takes the largest of all graphs, for edges on another scale than
            "same class" in `[0, 1]`.

    Raises:
        IndexError: no such task.
        ValueError: another number of images or targets than the task has items or queries.
    """
    episode = out.graphs[0].episode
    first, queries = sum(episode.n_queries[:task]), episode.n_queries[task]
    _check_length("target", target, queries, "queries")
    answers = out.logits[first : first + queries].argmax(1).cpu()
    place = (
        positions if positions is not None else _together(to_networkx(out.graphs[0], task), target)
    )
    nets = [to_networkx(graph, task) for graph in out.graphs]
    darkest = (
        strongest
        if strongest is not None
        else max((net.edges[edge]["weight"] for net in nets for edge in net.edges), default=1.0)
    )
    wide = min(len(nets), 2)
    rows = -(-len(nets) // wide)
    figure = Figure(figsize=(6.4 * wide, 6.6 * rows))
    # Not constrained: pictures at the edge of the axes would count as their decoration, and shrink them.
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.97, wspace=0.02, hspace=0.05)
    axes = list(figure.subplots(rows, wide, squeeze=False).flat)
    for number, graph in enumerate(out.graphs):
        last = number == len(out.graphs) - 1
        plot_graph(
            graph,
            task,
            ax=axes[number],
            images=images,
            positions=place,
            strongest=darkest,
            answers=answers if last else None,
            target=target if last else None,
        )
        axes[number].set_title(
            "before the first layer" if number == 0 else f"after layer {number}", fontsize=14
        )
    for ax in axes[len(out.graphs) :]:
        ax.axis("off")
    return figure


def _together(net: TaskGraph, target: Tensor | None) -> Positions:
    """A circle with each class in a row, queries among the supports where their classes are known."""
    queries = [n for n in net if net.nodes[n]["query"]]
    for node, label in zip(queries, [] if target is None else target.tolist(), strict=False):
        net.nodes[node].update(label=label, query=False)
    return circle_positions(net)


def _check_length(name: str, given: Tensor | None, wanted: int, what: str) -> None:
    if given is not None and len(given) != wanted:
        raise ValueError(
            f"{name} has {len(given)} rows and the task {wanted} {what}; give those of this task alone"
        )
