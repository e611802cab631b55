"""Prediction in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.nn.method import GraphMethod

# Upper bound on the edges of one chunk of tasks. A single task may exceed it.
MAX_EDGES = 400_000


def predict(model: GraphMethod, episode: Episode) -> Float[Tensor, "Q way"]:
    """Compute the logits of `model(episode)` in chunks of bounded memory.

    Call it inside `eval_mode(model)`.

    Args:
        model: a method.
        episode: one or more tasks.

    Returns:
        `[Q, max(way)]` logits, queries in the order of the episode. Classes that a task does not
        have get `-inf`.

    Raises:
        InvalidInputError: the method rejects the episode.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(3), torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(3))
        >>> with gf.nn.eval_mode(model):
        ...     gf.predict(model, episode).shape
        torch.Size([1, 2])
    """
    encoded = model.encode(episode)
    # An upper bound on edges: complete graphs, one per task or one per query.
    edges_per_task = []
    for size, queries in zip(encoded.sizes, encoded.n_queries, strict=True):
        if model.one_graph_per_query:
            edges_per_task.append(queries * (size - queries + 1) ** 2)
        else:
            edges_per_task.append(size**2)

    logits: list[Tensor] = []
    for tasks in _chunks(edges_per_task):
        logits.extend(_predict_chunk(model, encoded.take(tasks)))
    way = max(episode.way)
    return torch.cat([_pad_classes(chunk, way) for chunk in logits])


def _pad_classes(logits: Tensor, way: int) -> Tensor:
    return torch.nn.functional.pad(logits, (0, way - logits.shape[1]), value=-torch.inf)


def _predict_chunk(model: GraphMethod, encoded: Episode) -> Iterator[Tensor]:
    # A chunk of tasks may still be one task with many queries: split it again by graph.
    graphs = encoded.inductive() if model.one_graph_per_query else encoded
    for chunk in _chunks([size**2 for size in graphs.sizes]):
        yield model.predict_logits(graphs.take(chunk))


def _chunks(cost: Sequence[int]) -> Iterator[range]:
    """Yield runs of consecutive tasks of total cost at most `MAX_EDGES`, or of one costly task."""
    start, total = 0, 0
    for index, value in enumerate(cost):
        if index > start and total + value > MAX_EDGES:
            yield range(start, index)
            start, total = index, 0
        total += value
    yield range(start, len(cost))
