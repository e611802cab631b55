"""Dense arrays of whole tasks, for closed forms and fixed points that no sum over edges expresses.

Each function below groups the tasks of an episode by size and way, passes each group to a given
function as a `DenseBatch`, and puts its results back into the layout of the episode or graph.
"""

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
    """Tasks of the same size and way, as dense arrays; nodes are in the order of the episode.

    `torch_geometric.utils.to_dense_batch` is not used: it pads to the largest task, while closed
    forms (matrix inverses, softmaxes over nodes) need tasks without padding.

    Attributes:
        x: node features, `[G, n, F]`.
        one_hot: one-hot labels, `[G, n, way]` in the dtype of `x`; zero if the label is unknown.
        query: True for queries, `[G, n]` bool.
        edges: `[G, n, n, C]`, rows are receivers; None if the tasks have no edges.
        class_nodes: features of class nodes, `[G, way, C]`, where C is F except in
            `map_to_classes`; None without them.
        receive_only: `[G, n]` bool, True for nodes that send no messages; None if all nodes send.
    """

    x: Float[Tensor, "G n F"]
    one_hot: Float[Tensor, "G n way"]
    query: Bool[Tensor, "G n"]
    edges: Float[Tensor, "G n n C"] | None = None
    class_nodes: Float[Tensor, "G way C"] | None = None
    receive_only: Bool[Tensor, "G n"] | None = None

    @property
    def labeled(self) -> Bool[Tensor, "G n"]:
        """`[G, n]` bool, True for labeled support nodes."""
        return self.one_hot.any(2)


def dense_task(episode: Episode, class_nodes: Float[Tensor, "way F"] | None = None) -> DenseBatch:
    """Return one task as dense arrays.

    Args:
        episode: one task with features `[N, F]`.
        class_nodes: `[way, F]`, features of class nodes.

    Returns:
        A batch of one task, nodes in the order of the episode.
    """
    ((_, tasks),) = _groups(episode, episode.x, None)
    if class_nodes is None:
        return tasks
    return dataclasses.replace(tasks, class_nodes=class_nodes[None])


def map_to_edges(episode: Episode, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "E C"]:
    """Compute the edges of complete graphs from dense tasks.

    Args:
        episode: tasks with features `[N, F]`.
        fn: `tasks -> [G, n, n, C]`, called once per size and way.

    Returns:
        Edges `[E, C]` of `complete_graph(episode.sizes)`.
    """
    parts = _apply(fn, _groups(episode, episode.x, None))
    _, values = parts[0]
    # One group holds all tasks in order, so its values already have the layout of the edges.
    if len(parts) == 1:
        return values.flatten(0, 2)
    n_edges = sum(n * n for n in episode.sizes)
    edges = values.new_zeros(n_edges, values.shape[-1])
    for nodes, value in parts:
        indices = _edge_indices(episode, nodes)
        group_edges = value.flatten(0, 2)
        # Out of place, so that gradients reach the values of every group.
        edges = edges.index_copy(0, indices, group_edges)
    return edges


def map_to_nodes(episode: Episode, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "N F"]:
    """Compute node features from dense tasks.

    Args:
        episode: tasks with features `[N, F]`.
        fn: `tasks -> [G, n, F']`, called once per size and way.

    Returns:
        Node features, `[N, F']`.
    """
    parts = _apply(fn, _groups(episode, episode.x, None))
    _, values = parts[0]
    if len(parts) == 1:
        return values.flatten(0, 1)
    out = values.new_zeros(len(episode.y), values.shape[2])
    for nodes, value in parts:
        group_features = value.flatten(0, 1)
        out = out.index_copy(0, nodes.flatten(), group_features)
    return out


def map_to_classes(
    episode: Episode,
    class_features: Float[Tensor, "M C"],
    fn: Callable[[DenseBatch], Tensor],
) -> Float[Tensor, "M D"]:
    """Compute features of classes from dense tasks with other features of their classes.

    Args:
        episode: tasks with features `[N, F]`.
        class_features: `[sum(way), C]`, the `class_nodes` of the dense tasks.
        fn: `tasks -> [G, way, D]`, called once per size and way.

    Returns:
        Features of the classes, `[sum(way), D]`.
    """
    parts = []
    for _, rows, tasks in _class_groups(episode, episode.x, class_features):
        parts.append((rows, fn(tasks)))
    _, values = parts[0]
    # As in `map_to_edges`.
    if len(parts) == 1:
        return values.flatten(0, 1)
    out = values.new_zeros(len(class_features), values.shape[2])
    for rows, value in parts:
        out = out.index_copy(0, rows.flatten(), value.flatten(0, 1))
    return out


def map_to_node_scores(graph: Graph, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "N way"]:
    """Compute class scores of all nodes from dense tasks with their edges.

    Args:
        graph: a graph whose topology is complete.
        fn: `tasks -> [G, n, way]`, called once per size and way.

    Returns:
        Scores `[N, max(way)]`, `-inf` for classes that a task does not have.

    Raises:
        InvalidInputError: the topology is not complete.
    """
    # Raises if the topology is not complete.
    graph.topology.matrices(graph.edges)
    groups = _groups(graph.episode, graph.nodes, graph.edges)
    parts = _apply(fn, groups)
    return _merge_scores(graph.episode, parts)


def update_class_nodes(graph: Graph, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "M F"]:
    """Replace the class nodes of a graph.

    Args:
        graph: a graph on `class_node_graph`.
        fn: `tasks -> [G, way, F]`, called once per size and way.

    Returns:
        All nodes `[N + sum(way), F]`, items unchanged.
    """
    parts = []
    for _, rows, tasks in _class_node_groups(graph):
        parts.append((rows, fn(tasks)))
    return _set_class_nodes(graph, parts)


def update_query_edges(graph: Graph, fn: Callable[[DenseBatch], Tensor]) -> Float[Tensor, "E 1"]:
    """Replace the edges from class nodes to queries; edges from supports to classes stay.

    Args:
        graph: a graph on `class_node_graph`.
        fn: `tasks -> [G, n, way]`, called once per size and way; only rows of queries are used.

    Returns:
        All edges, `[E, 1]`.
    """
    parts = []
    for nodes, _, tasks in _class_node_groups(graph):
        parts.append((nodes, fn(tasks)))
    return _set_query_edges(graph, parts)


def update_classes_and_queries(
    graph: Graph, fn: Callable[[DenseBatch], tuple[Tensor, Tensor]]
) -> Graph:
    """Replace the class nodes of a graph together with its edges to queries.

    Args:
        graph: a graph on `class_node_graph`.
        fn: `tasks -> ([G, way, F], [G, n, way])`, called once per size and way.

    Returns:
        The updated graph.
    """
    class_nodes = []
    scores = []
    for nodes, rows, tasks in _class_node_groups(graph):
        task_classes, task_scores = fn(tasks)
        class_nodes.append((rows, task_classes))
        scores.append((nodes, task_scores))
    return graph.replace(
        nodes=_set_class_nodes(graph, class_nodes),
        edges=_set_query_edges(graph, scores),
    )


def query_class_scores(
    episode: Episode,
    class_nodes: Float[Tensor, "M F"],
    fn: Callable[[DenseBatch], tuple[Tensor, Tensor]],
) -> Float[Tensor, "Q way"] | None:
    """Compute the scores of `update_classes_and_queries` for queries only, without a graph.

    Args:
        episode: tasks with features `[N, F]`.
        class_nodes: `[sum(way), F]`.
        fn: `tasks -> ([G, way, F], [G, n, way])`.

    Returns:
        `[Q, way]`, queries in the order of the episode; None for tasks of different shapes.
    """
    layout = episode.layout
    if layout.shape is None:
        return None
    ((_, _, tasks),) = _class_groups(episode, episode.x, class_nodes)
    _, scores = fn(tasks)
    if layout.supports_first:
        return scores[:, -layout.n_queries[0] :].flatten(0, 1)
    return scores.flatten(0, 1).index_select(0, layout.query_nodes)


def class_softmax(scores: Float[Tensor, "G n way"]) -> Float[Tensor, "G n way"]:
    """Compute the softmax over classes.

    torch's softmax vectorizes over the contiguous dimension. There are few classes and many
    nodes, so the nodes are made contiguous, which is many times faster.
    """
    by_class = scores.mT.contiguous()
    return by_class.softmax(1).mT


def weighted_class_means(
    weight: Float[Tensor, "G n way"], x: Float[Tensor, "G n F"]
) -> Float[Tensor, "G way F"]:
    """Compute the weighted mean of the nodes for each class.

    Args:
        weight: membership of each node in each class, `[G, n, way]`; no class may be all zero.
        x: node features, `[G, n, F]`.

    Returns:
        Class means, `[G, way, F]`.
    """
    total = weight.sum(1, keepdim=True)
    fraction = weight / total
    return torch.bmm(fraction.mT, x)


def scale_sharpness(sharpness: float, way: int) -> float:
    """Convert the sharpness of a softmax over 5 classes to one over `way` classes.

    Confidence is measured relative to the maximum entropy, log(way), so that a hyperparameter
    tuned on 5-way tasks keeps its effect at other ways.
    """
    return sharpness * math.log(way) / math.log(5)


def valid_class_mask(episode: Episode) -> Bool[Tensor, "Q way"]:
    """Return which classes the task of each query has, `[Q, max(way)]` bool."""
    device = episode.y.device
    query_task = episode.task[episode.query]
    way = torch.tensor(episode.way, device=device)[query_task]
    classes = torch.arange(max(episode.way), device=device)
    return classes < way[:, None]


def _apply(
    fn: Callable[[DenseBatch], Tensor], groups: Iterator[tuple[Tensor, DenseBatch]]
) -> list[tuple[Tensor, Tensor]]:
    """Return the nodes of each group with the result of `fn`."""
    return [(nodes, fn(tasks)) for nodes, tasks in groups]


def _groups(
    episode: Episode, x: Tensor, edges: Tensor | None
) -> Iterator[tuple[Tensor, DenseBatch]]:
    """Yield the nodes `[G, n]` of all tasks of each size and way, and the tasks themselves."""
    layout = episode.layout
    one_hot, device = layout.one_hot(x.dtype), episode.y.device
    if layout.common_size is not None and layout.common_way is not None:
        # All tasks have the same shape, so views replace the copies of indexing.
        nodes = torch.arange(len(episode.y), device=device).view(-1, layout.common_size)
        yield nodes, _dense(nodes.shape, x, one_hot, episode.query, edges)
        return
    # On the CPU: `nonzero` on a GPU would synchronize for each group.
    sizes = torch.tensor(episode.sizes)
    ways = torch.tensor(episode.way)
    first_node = sizes.cumsum(0) - sizes
    # One group per shape, so that a closed form is one batched call instead of one per task.
    for size, way in sorted(set(zip(episode.sizes, episode.way, strict=True))):
        is_member = (sizes == size) & (ways == way)
        tasks = torch.nonzero(is_member).flatten()
        nodes = (first_node[tasks][:, None] + torch.arange(size)).to(device)
        group = nodes.flatten()
        group_edges = None if edges is None else edges[_edge_indices(episode, nodes)]
        labels = one_hot[group, :way]
        yield nodes, _dense(nodes.shape, x[group], labels, episode.query[group], group_edges)


def _dense(
    shape: torch.Size, x: Tensor, one_hot: Tensor, query: Tensor, edges: Tensor | None
) -> DenseBatch:
    """View the rows of `G` tasks of `n` nodes each as dense arrays."""
    matrices = None
    if edges is not None:
        matrices = edges.view(shape[0], shape[1], shape[1], edges.shape[1])
    return DenseBatch(
        x=x.view(*shape, x.shape[1]),
        one_hot=one_hot.view(*shape, one_hot.shape[1]),
        query=query.view(shape),
        edges=matrices,
    )


def _class_node_groups(graph: Graph) -> Iterator[tuple[Tensor, Tensor, DenseBatch]]:
    """Yield the nodes `[G, n]` of each size and way, their class nodes `[G, way]`, and the tasks.

    Class nodes are numbered from 0, after the items.
    """
    n_items = len(graph.episode.y)
    return _class_groups(graph.episode, graph.nodes[:n_items], graph.nodes[n_items:])


def _class_groups(
    episode: Episode, x: Tensor, class_nodes: Tensor
) -> Iterator[tuple[Tensor, Tensor, DenseBatch]]:
    """Yield the nodes `[G, n]` of each size and way, the rows `[G, way]` of `class_nodes`, and the tasks."""
    device = episode.y.device
    layout = episode.layout
    if layout.common_size is not None and layout.common_way is not None:
        ((nodes, tasks),) = _groups(episode, x, None)
        shape = (episode.n_tasks, layout.common_way)
        rows = torch.arange(len(class_nodes), device=device).view(shape)
        features = class_nodes.view(*shape, class_nodes.shape[1])
        yield nodes, rows, dataclasses.replace(tasks, class_nodes=features)
        return
    ways = torch.tensor(episode.way)
    first_class = (ways.cumsum(0) - ways).to(device)
    for nodes, tasks in _groups(episode, x, None):
        class_in_task = torch.arange(tasks.one_hot.shape[2], device=device)
        rows = first_class[episode.task[nodes[:, 0]], None] + class_in_task
        yield nodes, rows, dataclasses.replace(tasks, class_nodes=class_nodes[rows])


def _merge_scores(episode: Episode, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Combine scores `[G, n, way]` of nodes `[G, n]` to `[N, max(way)]`, filled with `-inf`."""
    _, values = parts[0]
    if len(parts) == 1:
        return values.flatten(0, 1)
    max_way = max(episode.way)
    scores = values.new_full((len(episode.y), max_way), -torch.inf)
    for nodes, value in parts:
        node_scores = value.flatten(0, 1)
        n_missing = max_way - node_scores.shape[1]
        padded = F.pad(node_scores, (0, n_missing), value=-torch.inf)
        scores = scores.index_copy(0, nodes.flatten(), padded)
    return scores


def _set_class_nodes(graph: Graph, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Replace class nodes `[G, way]` by features `[G, way, F]`; items stay."""
    n_items = len(graph.episode.y)
    items, class_nodes = graph.nodes[:n_items], graph.nodes[n_items:]
    # One group holds all tasks in order.
    if len(parts) == 1:
        return torch.cat([items, parts[0][1].flatten(0, 1)])
    for rows, values in parts:
        class_nodes = class_nodes.index_copy(0, rows.flatten(), values.flatten(0, 1))
    return torch.cat([items, class_nodes])


def _set_query_edges(graph: Graph, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Replace the edges into queries by class scores of their nodes."""
    episode = graph.episode
    scores = _merge_scores(episode, parts)
    query_scores = scores.index_select(0, episode.layout.query_nodes)
    # Edges are sorted by receiver, and queries come before class nodes: these edges come first.
    if episode.layout.common_way is not None:
        query_edges = query_scores.reshape(-1, 1)
    else:
        query_edges = query_scores[valid_class_mask(episode)][:, None]
    return torch.cat([query_edges, graph.edges[len(query_edges) :]])


def _edge_indices(episode: Episode, nodes: Tensor) -> Tensor:
    """Return the indices `[G * n * n]` of the edges of complete graphs over nodes `[G, n]`."""
    sizes = torch.tensor(episode.sizes, device=nodes.device)
    # A complete task of n nodes has n * n edges, self-loops included, and tasks are adjacent.
    n_edges = sizes * sizes
    first_edge = n_edges.cumsum(0) - n_edges
    edge_in_task = torch.arange(nodes.shape[1] ** 2, device=nodes.device)
    task = episode.task[nodes[:, 0]]
    return (first_edge[task][:, None] + edge_in_task).flatten()
