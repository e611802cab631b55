"""An episode's graph after each layer of a checkpoint, as one picture."""

from __future__ import annotations

import io

import matplotlib as mpl
import torch

from graphfew.benchmark.report.html import Markup
from graphfew.benchmark.report.svg import embedded, framed
from graphfew.data import Dataset, Tasks
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod, MethodOutput, device_of
from graphfew.visualization.episode_graph import plot_layers

MOST_NODES = 60


def layers(
    model: GraphMethod,
    data: Dataset,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 3,
    seed: int = 0,
    name: str = "the checkpoint",
) -> Markup:
    """One task drawn before the first layer and after each: images as nodes, edges as dark as they say "same class".

    Args:
        model: a method with a graph of whole tasks; it is asked transductively.
        data: images `[M, 1 or 3, h, w]`; other items are drawn as boxes.
        way, shot, query: of the task, queries per class.
        seed: of the task.
        name: what the caption calls the model.

    Raises:
        ValueError: a method without a transductive mode or without layers, or a task too large to draw.
    """
    if way * (shot + query) > MOST_NODES:
        raise ValueError(
            f"the task has {way * (shot + query)} items; at most {MOST_NODES} can be told apart in a "
            "picture, so ask for fewer classes, shots or queries"
        )
    model = model if model.transductive else model.in_mode(transductive=True)
    tasks = Tasks(data, way=way, shot=shot, query=query, seed=seed)
    episode, target = tasks.batch(range(1))
    with eval_mode(model):
        out = model(episode.to(device_of(model)))
    if len(out.graphs) < 2 or out.graphs[0].topology is None:
        raise ValueError(
            "the method has no layers between its first graph and its answer; draw a graph network such "
            "as egnn"
        )
    images = episode.x if episode.x.ndim == 4 and episode.x.shape[1] in (1, 3) else None
    right = int((out.logits.argmax(1).cpu() == target).sum())
    told = (
        f"An episode of {data.name}/{data.split} ({way}-way {shot}-shot, {query} queries per class) in {name}, "
        f"layer by layer; {right} of {len(target)} queries are right at the end"
    )
    picture = _picture(out, images, target, seed)
    return framed(
        embedded(picture, "svg+xml", told + ". An edge is dark where the graph says 'same class'."),
        f"{told}. Square frame, capital letter: labeled support; round frame, small letter: query and its "
        "answer; ✗ X: wrong, the true class is X. Each class stands together on the circle.",
    )


def _picture(
    out: MethodOutput, images: torch.Tensor | None, target: torch.Tensor, seed: int
) -> bytes:
    figure = plot_layers(out, images=images, target=target)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": f"episode-{seed}", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
