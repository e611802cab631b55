"""Draw the figures of the documentation: `python -m docs.pictures`. Reproducible for a given library version."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image

import graphfew as gf

FOLDER = Path(__file__).parent / "pictures"
COLORS, DPI = 128, 80


def main() -> None:
    """Write every figure to the pictures folder."""
    FOLDER.mkdir(exist_ok=True)
    for name, figure in (
        ("edges", edges()),
        ("layers", layers()),
        ("inductive", inductive()),
        ("unlabeled", unlabeled()),
    ):
        save(figure, FOLDER / f"{name}.png")


def save(figure: Figure, path: Path) -> None:
    """Save a PNG with a small palette, a third of the size."""
    with io.BytesIO() as raw:
        figure.savefig(raw, dpi=DPI, format="png")
        Image.open(raw).convert("RGB").quantize(COLORS, Image.Quantize.FASTOCTREE).save(
            path, optimize=True
        )


def tasks(**other: Any) -> gf.Tasks:
    """5-way 1-shot tasks of printed characters."""
    return gf.Tasks(
        gf.data.glyphs("test", progress=False), **{"way": 5, "shot": 1, "query": 2, **other}, seed=1
    )


def edges() -> Figure:
    """One episode, and the first edges of three methods on it."""
    episode, _ = tasks()[0]
    shown = {
        "egnn: every pair; same, different or unknown label": gf.load("egnn-omniglot"),
        "matching: supports to queries; attention weights": head("matching", scale=20.0),
        "label_propagation: nearest neighbors; affinity": head("label_propagation"),
    }
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    with torch.no_grad():
        for ax, (title, model) in zip(figure.subplots(1, 3), shown.items(), strict=True):
            out = model.eval()(episode)
            # Attention is directed, and an edge is drawn as the mean of both directions.
            graph, max_weight = (
                (out.graphs[-1], 0.5) if title.startswith("matching") else (out.graphs[0], 1.0)
            )
            gf.visualization.plot_graph(
                graph, ax=ax, images=episode.x, positions=places(graph), max_weight=max_weight
            )
            ax.set_title(title, fontsize=11)
    return figure


def layers() -> Figure:
    """EGNN's edges before and after its layers."""
    episode, target = tasks(query=3)[11]
    with torch.no_grad():
        return gf.visualization.plot_before_after(
            gf.load("egnn-omniglot")(episode), images=episode.x, target=target
        )


def inductive() -> Figure:
    """The first three graphs of an inductive episode."""
    episode, _ = tasks()[0]
    alone = episode.inductive()
    with torch.no_grad():
        graph = gf.create("egnn", encoder=gf.backbones.conv4()).eval()(alone).graphs[0]
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    for task, ax in enumerate(figure.subplots(1, 3)):
        first, size = sum(alone.sizes[:task]), alone.sizes[task]
        gf.visualization.plot_graph(
            graph, task, ax=ax, images=alone.x[first : first + size], positions=places(graph, task)
        )
        ax.set_title(f"query {task + 1} of {alone.n_tasks}, alone with the context", fontsize=11)
    return figure


def unlabeled() -> Figure:
    """Supports, unlabeled nodes and queries after label propagation."""
    episode, target = tasks(unlabeled=2, query=1)[10]
    with torch.no_grad():
        out = head("label_propagation").eval()(episode)
    figure = Figure(figsize=(8, 7), layout="constrained")
    ax = gf.visualization.plot_graph(
        out.graphs[0],
        ax=figure.subplots(),
        images=episode.x,
        predictions=out.logits.argmax(1),
        target=target,
    )
    ax.set_title("dotted: unlabeled · edges: nearest neighbors, darker if closer", fontsize=11)
    return figure


def head(method: str, **arguments: Any) -> gf.GraphMethod:
    """A method on a pretrained encoder."""
    return gf.create(method, encoder=gf.load("prototypical-omniglot").encoder, **arguments)


def places(graph: gf.Graph, task: int = 0) -> dict[int, tuple[float, float]]:
    """Supports in a row above the queries of their task."""
    net = gf.convert.to_networkx(graph, task)
    order = sorted(net, key=lambda node: (net.nodes[node]["query"], net.nodes[node]["label"], node))
    support = [node for node in order if not net.nodes[node]["query"]]
    query = [node for node in order if net.nodes[node]["query"]]
    rows = ((support, 1.0), (query[::2], 0.0), (query[1::2], -0.6))
    return {
        node: ((i + 0.5) / len(row) * 2 - 1, height)
        for row, height in rows
        for i, node in enumerate(row)
    }


if __name__ == "__main__":
    main()
