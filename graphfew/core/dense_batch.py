"""Whole tasks as small dense arrays, for closed forms and fixed points that a sum over edges cannot express."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


@dataclasses.dataclass(frozen=True, eq=False)
class DenseBatch:
    """Tasks of one size and one way as a batch; nodes stand in the episode's order.

    Shapes:
        x: `[G, n, F]` node values.
        one_hot: `[G, n, way]` one-hot rows, zero where the label is unknown; dtype of `x`.
        query: `[G, n]` bool.
        edges: `[G, n, n, C]`, row = receiver; None where the tasks come without edges.
        class_nodes: `[G, way, F]` class nodes; None where the graph has none.
        receive_only: `[G, n]` bool, nodes that send nothing to others; None where all do.
    """

    x: Float[Tensor, "G n F"]
    one_hot: Float[Tensor, "G n way"]
    query: Bool[Tensor, "G n"]
    edges: Float[Tensor, "G n n C"] | None = None
    class_nodes: Float[Tensor, "G way F"] | None = None
    receive_only: Bool[Tensor, "G n"] | None = None

    @property
    def labeled(self) -> Bool[Tensor, "G n"]:
        """`[G, n]` bool: support nodes with a label."""
        return self.one_hot.any(2)


def map_to_edges(episode: Episode, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "E C"]:
    """Edges of `complete(episode.sizes)` from `fn(tasks) -> [G, n, n, C]`, called once per size and way."""
    parts = [(nodes, fn(tasks)) for nodes, tasks in _groups(episode, episode.x, None)]
    if len(parts) == 1:
        return parts[0][1].flatten(0, 2)
    values = parts[0][1]
    edges = values.new_zeros(sum(n * n for n in episode.sizes), values.shape[-1])
    for nodes, value in parts:
        edges = edges.index_copy(0, _edges_of(episode, nodes), value.flatten(0, 2))
    return edges


def map_to_nodes(episode: Episode, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "N F"]:
    """New node values `[N, F']` from `fn(tasks) -> [G, n, F']`, called once per size and way."""
    parts = [(nodes, fn(tasks)) for nodes, tasks in _groups(episode, episode.x, None)]
    if len(parts) == 1:
        return parts[0][1].flatten(0, 1)
    rows = parts[0][1].new_zeros(len(episode.y), parts[0][1].shape[2])
    for nodes, values in parts:
        rows = rows.index_copy(0, nodes.flatten(), values.flatten(0, 1))
    return rows


def map_to_node_scores(graph: Graph, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "N way"]:
    """A row of class scores for every node, `[N, max(way)]`, from `fn(tasks) -> [G, n, way]`, called once per size and
    way; classes that a task does not have are `-inf`.

    The graph's topology must be complete; its edges reach `fn` as matrices.

    Raises:
        ValueError: another topology.
    """
    graph.topology.matrices(graph.edges)  # refuses another topology
    groups = _groups(graph.episode, graph.nodes, graph.edges)
    return _rows(graph.episode, [(nodes, fn(tasks)) for nodes, tasks in groups])


def update_class_nodes(graph: Graph, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "M F"]:
    """The nodes of a `stars` graph with new class nodes, from `fn(tasks) -> [G, way, F]`, once per size and way."""
    return _with_classes(graph, [(rows, fn(tasks)) for _, rows, tasks in _star_groups(graph)])


def update_query_edges(graph: Graph, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "E 1"]:
    """The edges of a `stars` graph with new ones from classes to queries: `fn(tasks) -> [G, n, way]`, once per size and
    way, of which the queries' rows are taken. Edges from supports to classes stay."""
    return _to_queries(graph, [(nodes, fn(tasks)) for nodes, _, tasks in _star_groups(graph)])


def update_classes_and_queries(
    graph: Graph, fn: Callable[[DenseBatch], tuple[Tensor, Tensor]]
) -> Graph:
    """A `stars` graph with new class nodes and new edges to queries, found together: `fn(tasks) -> [G, way, F],
    [G, n, way]`, once per size and way."""
    found = [(nodes, rows, *fn(tasks)) for nodes, rows, tasks in _star_groups(graph)]
    return graph.replace(
        nodes=_with_classes(graph, [(rows, classes) for _, rows, classes, _ in found]),
        edges=_to_queries(graph, [(nodes, scores) for nodes, _, _, scores in found]),
    )


def class_softmax(scores: Float[Tensor, "G n way"]) -> Float[Tensor, "G n way"]:
    """Softmax over classes. In memory nodes stand side by side, which is many times faster where classes are few."""
    return scores.mT.contiguous().softmax(1).mT


def weighted_class_means(
    weight: Float[Tensor, "G n way"], x: Float[Tensor, "G n F"]
) -> Float[Tensor, "G way F"]:
    """The mean of the nodes for each class, weighted by their membership in it, which must not all be 0."""
    return torch.bmm((weight / weight.sum(1, keepdim=True)).mT, x)


def scale_sharpness(sharpness: float, way: int) -> float:
    """The sharpness of a softmax over `way` classes that leaves shares as sure as the given one does among 5: their
    largest entropy, log(way), sets the unit."""
    return sharpness * math.log(way) / math.log(5)


def valid_class_mask(episode: Episode) -> Bool[Tensor, "Q way"]:
    """`[Q, max(way)]` bool: the classes that each query's task has."""
    way = torch.tensor(episode.way, device=episode.y.device)[episode.task[episode.query]]
    return torch.arange(max(episode.way), device=way.device) < way[:, None]


def _rows(episode: Episode, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    if len(parts) == 1:
        return parts[0][1].flatten(0, 1)
    rows = parts[0][1].new_full((len(episode.y), max(episode.way)), -torch.inf)
    for nodes, value in parts:
        wide = F.pad(value.flatten(0, 1), (0, max(episode.way) - value.shape[-1]), value=-torch.inf)
        rows = rows.index_copy(0, nodes.flatten(), wide)
    return rows


def _with_classes(graph: Graph, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The nodes of a `stars` graph with new class nodes `[G, way, F]` at these places `[G, way]`."""
    items = len(graph.episode.y)
    classes = graph.nodes[items:]
    for rows, values in parts:
        classes = classes.index_copy(0, rows.flatten(), values.flatten(0, 1))
    return torch.cat([graph.nodes[:items], classes])


def _to_queries(graph: Graph, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The edges of a `stars` graph, those to queries (the first, query by query) from rows of class scores."""
    episode = graph.episode
    scores = _rows(episode, parts)[episode.query][valid_class_mask(episode)]
    return torch.cat([scores[:, None], graph.edges[len(scores) :]])


def _star_groups(graph: Graph) -> Iterator[tuple[Tensor, Tensor, DenseBatch]]:
    """The nodes `[G, n]` of each size and way, their class nodes `[G, way]`, and the tasks with both."""
    episode = graph.episode
    way = torch.tensor(episode.way)
    first = (way.cumsum(0) - way).to(episode.y.device)
    classes = graph.nodes[len(episode.y) :]
    for nodes, tasks in _groups(episode, graph.nodes[: len(episode.y)], None):
        rows = first[episode.task[nodes[:, 0]], None] + torch.arange(
            tasks.one_hot.shape[2], device=first.device
        )
        yield nodes, rows, dataclasses.replace(tasks, class_nodes=classes[rows])


def _groups(
    episode: Episode, x: Tensor, edges: Tensor | None
) -> Iterator[tuple[Tensor, DenseBatch]]:
    """The nodes `[G, n]` of each size and way, and the tasks themselves."""
    sizes, ways = torch.tensor(episode.sizes), torch.tensor(episode.way)
    starts = sizes.cumsum(0) - sizes
    shapes = sorted(set(zip(episode.sizes, episode.way, strict=True)))
    for size, way in shapes:
        tasks = torch.nonzero((sizes == size) & (ways == way)).flatten()
        nodes = (starts[tasks][:, None] + torch.arange(size)).to(episode.y.device)
        whole = len(shapes) == 1
        y, query = (t.view(-1, size) if whole else t[nodes] for t in (episode.y, episode.query))
        values = x.view(-1, size, x.shape[1]) if whole else x[nodes]
        matrices = None
        if edges is not None:
            own = edges if whole else edges[_edges_of(episode, nodes)]
            matrices = own.view(-1, size, size, edges.shape[1])
        label = F.one_hot(y.clamp_min(0), way).to(x.dtype) * (y >= 0)[..., None]
        yield nodes, DenseBatch(values, label, query, matrices)


def _edges_of(episode: Episode, nodes: Tensor) -> Tensor:
    """Indices `[G * n * n]` of the complete graphs' edges of the tasks with these nodes `[G, n]`."""
    sizes = torch.tensor(episode.sizes, device=nodes.device)
    first = (sizes * sizes).cumsum(0) - sizes * sizes
    own = first[episode.task[nodes[:, 0]]]
    return (own[:, None] + torch.arange(nodes.shape[1] ** 2, device=nodes.device)).flatten()
