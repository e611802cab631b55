"""Plots of an episode's graph with networkx and matplotlib."""

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
from graphfew.errors import InvalidInputError
from graphfew.nn.method import MethodOutput
from graphfew.visualization._style import NEUTRAL_COLOR, class_color, class_letter

Positions = Mapping[int, Any]
# Edges of at most this weight are invisible and are not drawn.
MIN_WEIGHT = 0.06


def plot_graph(
    graph: Graph,
    task: int = 0,
    *,
    ax: Axes | None = None,
    images: Tensor | None = None,
    predictions: Tensor | None = None,
    target: Tensor | None = None,
    positions: Positions | None = None,
    max_weight: float = 1.0,
    seed: int = 0,
) -> Axes:
    """Plot one task of a graph: nodes as images, edges shaded by their channel 0.

    Labeled support items have a square frame and the letter of their class. Queries have a round
    frame and the predicted class in lower case; if it differs from the target, a cross and the true
    class follow. Unlabeled items have a dotted frame.

    Args:
        graph: a graph over an episode.
        task: index of the task.
        ax: axes to plot into. None creates a figure, `ax.figure`, that pyplot does not manage.
        images: `[n, 1 or 3, h, w]` in `[0, 1]`, the items of the task; None draws small boxes.
        predictions: `[q]` int64, the predicted class of each query of the task.
        target: `[q]` int64, the true class of each query of the task.
        positions: position of each node; None computes a spring layout.
        max_weight: the edge value that is drawn darkest.
        seed: seed of the layout.

    Returns:
        The axes.

    Raises:
        IndexError: `task` is out of range.
        InvalidInputError: the number of images, predictions or targets does not match the task.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(4), torch.tensor([0, 1, -1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> model = gf.create("label_propagation", encoder=gf.backbones.identity(4))
        >>> ax = plot_graph(model(episode).graphs[-1], predictions=torch.tensor([0, 1]))
        >>> [text.get_text() for text in ax.texts]
        ['A', 'B', 'a', 'b']
    """
    net = to_networkx(graph, task)
    queries = [node for node in net if net.nodes[node]["query"]]
    _check_length("images", images, len(net), "items")
    _check_length("predictions", predictions, len(queries), "queries")
    _check_length("target", target, len(queries), "queries")
    if ax is None:
        # Not from pyplot, whose global registry keeps every figure alive until it is closed.
        ax = Figure(figsize=(6, 6)).add_axes((0.01, 0.01, 0.98, 0.98))
    if positions is None:
        positions = spring_positions(net, seed)
    _draw_edges(net, positions, ax, max_weight)
    predicted_class = _by_node(queries, predictions)
    true_class = _by_node(queries, target)
    center = np.mean([positions[node] for node in net], axis=0)
    for node in net:
        _draw_image(
            ax,
            net.nodes[node],
            positions[node],
            None if images is None else images[node],
            predicted_class.get(node),
        )
        _draw_label(
            ax,
            net.nodes[node],
            positions[node],
            _label_offset(np.asarray(positions[node]) - center),
            predicted_class.get(node),
            true_class.get(node),
        )
    ax.set_aspect("equal")
    ax.margins(0.14)
    ax.axis("off")
    return ax


def plot_before_after(
    out: MethodOutput,
    task: int = 0,
    *,
    images: Tensor | None = None,
    target: Tensor | None = None,
    seed: int = 0,
) -> Figure:
    """Plot one task of a transductive output: its first graph on a circle, its last by its edges.

    Args:
        out: output of a method whose graphs contain whole tasks.
        task: index of the task.
        images: `[n, 1 or 3, h, w]` in `[0, 1]`, the items of the task; None draws small boxes.
        target: `[q]` int64, the true class of each query of the task.
        seed: seed of the layout.

    Returns:
        The figure.

    Raises:
        IndexError: `task` is out of range.
        InvalidInputError: the number of images or targets does not match the task.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(4), torch.tensor([0, 1, -1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> model = gf.create("egnn", encoder=gf.backbones.identity(4), layers=2)
        >>> len(plot_before_after(model(episode)).axes)
        2
    """
    figure = Figure(figsize=(15, 7.6))
    # No constrained layout, see `plot_layers`.
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.07, top=0.94, wspace=0.02)
    before_ax, after_ax = figure.subplots(1, 2)
    before, after = out.graphs[0], out.graphs[-1]
    plot_graph(
        before,
        task,
        ax=before_ax,
        images=images,
        positions=circle_positions(to_networkx(before, task)),
    )
    plot_graph(
        after,
        task,
        ax=after_ax,
        images=images,
        predictions=_task_predictions(out, task),
        target=target,
        seed=seed,
    )
    before_ax.set_title(
        "Before: dark edges join equal labels; gray edges: label unknown", fontsize=12
    )
    after_ax.set_title(f"After {len(out.graphs) - 1} layers: dark means 'same class'", fontsize=12)
    figure.supxlabel(
        "square frame, capital letter: labeled support    ·    round frame, small letter: query and "
        "predicted class    ·    ✗ X: wrong, the true class is X",
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
    max_weight: float | None = 1.0,
) -> Figure:
    """Plot one task of an output before the first layer and after each layer.

    Every node has the same position in all plots. Predictions are shown in the last plot only.
    Class nodes are not drawn.

    Args:
        out: output of a method whose graphs contain whole tasks.
        task: index of the task.
        images: `[n, 1 or 3, h, w]` in `[0, 1]`, the items of the task; None draws small boxes.
        target: `[q]` int64, the true class of each query of the task.
        positions: position of each node; None places them on a circle, grouped by class where the
            classes are known.
        max_weight: the edge value that is drawn darkest; None takes the maximum over all graphs,
            for edges that are not probabilities in `[0, 1]`.

    Returns:
        The figure.

    Raises:
        IndexError: `task` is out of range.
        InvalidInputError: the number of images or targets does not match the task.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(4), torch.tensor([0, 1, -1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> model = gf.create("egnn", encoder=gf.backbones.identity(4), layers=2)
        >>> [ax.get_title() for ax in plot_layers(model(episode)).axes][:2]
        ['before the first layer', 'after layer 1']
    """
    _check_length("target", target, out.graphs[0].episode.n_queries[task], "queries")
    nets = [to_networkx(graph, task) for graph in out.graphs]
    if positions is None:
        # A copy, because the targets are entered as labels, for the layout only.
        positions = _class_circle_positions(nets[0].copy(), target)
    if max_weight is None:
        # Over all layers, so that the same gray is the same value in every plot.
        weights = [net.edges[edge]["weight"] for net in nets for edge in net.edges]
        max_weight = max(weights, default=1.0)
    n_columns = min(len(nets), 2)
    n_rows = -(-len(nets) // n_columns)
    figure = Figure(figsize=(6.4 * n_columns, 6.6 * n_rows))
    # No constrained layout: it would count images at the edge of the axes as decoration and shrink
    # the axes.
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.97, wspace=0.02, hspace=0.05)
    axes = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for layer, graph in enumerate(out.graphs):
        is_last = layer == len(out.graphs) - 1
        plot_graph(
            graph,
            task,
            ax=axes[layer],
            images=images,
            positions=positions,
            max_weight=max_weight,
            predictions=_task_predictions(out, task) if is_last else None,
            target=target if is_last else None,
        )
        title = f"after layer {layer}" if layer else "before the first layer"
        axes[layer].set_title(title, fontsize=14)
    for ax in axes[len(out.graphs) :]:
        ax.axis("off")
    return figure


def spring_positions(net: TaskGraph, seed: int = 0) -> Positions:
    """Spring layout of the stronger edges, without overlapping nodes; deterministic for a seed."""
    strong: TaskGraph = nx.Graph(net)
    # A complete graph would collapse: its many weak edges outweigh the strong ones.
    strong.remove_edges_from([(a, b) for a, b in net.edges if net.edges[a, b]["weight"] < 0.1])
    positions: Positions = nx.spring_layout(
        strong,
        weight="weight",
        seed=seed,
        iterations=300,
        # The ideal distance; networkx's default is 1 / √n.
        k=2.2 / max(len(net), 1) ** 0.5,
    )
    return _separate(positions)


def circle_positions(net: TaskGraph) -> Positions:
    """Circular layout, support items first, ordered by class."""
    order = sorted(net, key=lambda n: (net.nodes[n]["query"], net.nodes[n]["label"], n))
    # `circular_layout` follows the order of insertion.
    ring: TaskGraph = nx.Graph()
    ring.add_nodes_from(order)
    positions: Positions = nx.circular_layout(ring)
    return positions


def _class_circle_positions(net: TaskGraph, target: Tensor | None) -> Positions:
    """Circular layout, ordered by class, queries among the support items if their classes are given."""
    queries = [node for node in net if net.nodes[node]["query"]]
    for node, label in _by_node(queries, target).items():
        net.nodes[node].update(label=label, query=False)
    return circle_positions(net)


def _separate(positions: Positions, min_distance: float = 0.26) -> Positions:
    """Push nodes apart until none are much closer than `min_distance`, on a square of side 2."""
    nodes = list(positions)
    points = np.array([positions[node] for node in nodes], dtype=float).reshape(-1, 2)
    for _ in range(200):
        # `[n, n, 2]`: offsets[i, j] points from node j to node i.
        offsets = points[:, None] - points[None]
        distances = np.linalg.norm(offsets, axis=-1)
        too_close = (distances < min_distance) & ~np.eye(len(points), dtype=bool)
        if not too_close.any():
            break
        push = (min_distance - distances) / 2 / np.maximum(distances, 1e-6)
        push = np.where(too_close, push, 0)
        points = points + 0.5 * (push[..., None] * offsets).sum(1)
    return dict(zip(nodes, points, strict=True))


def _task_predictions(out: MethodOutput, task: int) -> Tensor:
    n_queries = out.graphs[0].episode.n_queries
    start = sum(n_queries[:task])
    return out.logits[start : start + n_queries[task]].argmax(1).cpu()


def _by_node(nodes: list[int], values: Tensor | None) -> dict[int, int]:
    if values is None:
        return {}
    return dict(zip(nodes, values.tolist(), strict=True))


def _draw_edges(net: TaskGraph, positions: Positions, ax: Axes, max_weight: float) -> None:
    edges = [edge for edge in net.edges if net.edges[edge]["weight"] > MIN_WEIGHT]
    if not edges:
        return
    weights = np.array([net.edges[edge]["weight"] for edge in edges])
    strength = weights.clip(0, max_weight) / max_weight
    nx.draw_networkx_edges(
        net,
        positions,
        ax=ax,
        edgelist=edges,
        edge_color="#222222",
        width=list(0.3 + 2.4 * strength),
        alpha=list(0.85 * strength**2),
    )


def _draw_image(
    ax: Axes,
    node: Mapping[str, Any],
    position: Any,
    image: Tensor | None,
    predicted: int | None,
) -> None:
    is_unlabeled = node["label"] < 0 and not node["query"]
    frame = {
        "edgecolor": _node_color(node, predicted),
        "linewidth": 1.6 if node["query"] else 3.0,
        "linestyle": "dotted" if is_unlabeled else "solid",
        "facecolor": "white",
        "boxstyle": "round,pad=0.25" if node["query"] else "square,pad=0.12",
    }
    if image is None:
        content: Any = TextArea("   ")
    else:
        # A fixed range; by default matplotlib stretches each image to its own contrast.
        content = OffsetImage(_to_pixels(image), zoom=0.85, cmap="gray_r", norm=Normalize(0, 1))
    box = AnnotationBbox(content, (position[0], position[1]), bboxprops=frame, pad=0.15)
    ax.add_artist(box)


def _draw_label(
    ax: Axes,
    node: Mapping[str, Any],
    position: Any,
    offset: tuple[float, float],
    predicted: int | None,
    true_class: int | None,
) -> None:
    label = node["label"] if node["label"] >= 0 else predicted
    text = "" if label is None else class_letter(label)
    if node["query"]:
        text = text.lower()
    if true_class is not None and predicted is not None and predicted != true_class:
        text += f" ✗ {class_letter(true_class)}"
    ax.annotate(
        text,
        (position[0], position[1]),
        xytext=offset,
        textcoords="offset points",
        ha="center",
        va="center",
        color=_node_color(node, predicted),
        fontsize=9,
        fontweight="bold",
        zorder=5,
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


def _node_color(node: Mapping[str, Any], predicted: int | None) -> str:
    label = node["label"] if node["label"] >= 0 else predicted
    return NEUTRAL_COLOR if label is None else class_color(label)


def _label_offset(direction: NDArray[Any]) -> tuple[float, float]:
    """Offset of a node's label in points: away from the center, where no neighbors are."""
    length = np.linalg.norm(direction)
    if length < 0.2:
        return 0.0, -24.0
    return float(31 * direction[0] / length), float(25 * direction[1] / length)


def _to_pixels(image: Tensor) -> NDArray[Any]:
    # matplotlib has channels last, and no channel axis in gray images.
    pixels = image.detach().float().cpu().movedim(0, -1).numpy()
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _check_length(name: str, values: Tensor | None, expected: int, what: str) -> None:
    if values is not None and len(values) != expected:
        raise InvalidInputError(
            f"{name} has {len(values)} rows and the task {expected} {what}; give those of this task "
            "alone"
        )
