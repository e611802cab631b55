"""Dense arrays of supports and queries, for methods that process the supports one by one.

Tasks are grouped by their numbers of supports, queries and classes, so that no padding is needed:
sequence models and per-support computations then run once per group instead of once per task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


@dataclasses.dataclass(frozen=True, eq=False)
class SupportBatch:
    """Tasks with the same numbers of supports, queries and classes, as dense arrays.

    Attributes:
        supports: features of the labeled supports in node order, `[G, S, F]`.
        one_hot: their one-hot labels, `[G, S, way]` in the dtype of the features.
        queries: features of the queries in node order, `[G, Q, F]`.
    """

    supports: Float[Tensor, "G S F"]
    one_hot: Float[Tensor, "G S way"]
    queries: Float[Tensor, "G Q F"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Group:
    """Tasks of one shape.

    Attributes:
        tasks: their numbers, `[G]`.
        query_rows: indices of their queries among all queries, `[G, Q]`, on the CPU.
        query_nodes: the nodes of their queries, `[G, Q]`.
        batch: supports and queries.
    """

    tasks: Int[Tensor, " G"]
    query_rows: Int[Tensor, "G Q"]
    query_nodes: Int[Tensor, "G Q"]
    batch: SupportBatch


def support_batch(context: Episode) -> SupportBatch:
    """Return one task as dense arrays.

    Args:
        context: one task with features `[N, F]`; it may have no queries.

    Returns:
        A batch of one task.
    """
    (group,) = _groups(context, context.x)
    return group.batch


def map_to_query_scores(
    episode: Episode, fn: Callable[[SupportBatch], Tensor]
) -> Float[Tensor, "N way"]:
    """Compute the class scores of the queries from dense supports and queries.

    Args:
        episode: tasks with features `[N, F]`. Unlabeled nodes are ignored.
        fn: `batch -> [G, Q, way]`, called once per number of supports, queries and classes.

    Returns:
        `[N, max(way)]`; zero for other nodes, `-inf` for classes that a query's task lacks.
    """
    groups = _groups(episode, episode.x)
    parts = [(group.query_nodes, fn(group.batch)) for group in groups]
    return _merge_scores(episode, parts)


def query_scores(episode: Episode, fn: Callable[[SupportBatch], Tensor]) -> Float[Tensor, "Q way"]:
    """Compute the class scores of the queries only, from dense supports and queries.

    Args:
        episode: tasks with features `[N, F]`. Unlabeled nodes are ignored.
        fn: `batch -> [G, Q, way]`, called once per number of supports, queries and classes.

    Returns:
        `[Q, max(way)]`, queries in the order of the episode; `-inf` for classes that a query's task
        lacks.
    """
    batch = equal_support_batch(episode)
    if batch is not None:
        return fn(batch).flatten(0, 1)
    max_way = max(episode.way)
    rows, values = [], []
    for group in _groups(episode, episode.x):
        scores = fn(group.batch).flatten(0, 1)
        n_missing = max_way - scores.shape[1]
        rows.append(group.query_rows.flatten())
        values.append(F.pad(scores, (0, n_missing), value=-torch.inf))
    order = torch.cat(rows).argsort().to(episode.y.device)
    return torch.cat(values)[order]


def split_supports(
    episode: Episode,
) -> tuple[Float[Tensor, "G S F"], Float[Tensor, "G Q F"]] | None:
    """Return the features of supports and queries of all tasks as dense arrays.

    Args:
        episode: tasks with features `[N, F]`. Unlabeled nodes are ignored.

    Returns:
        `[G, S, F]` and `[G, Q, F]`, as views of the features if the nodes of each task are
        supports, then queries; None if the tasks differ in their numbers of nodes or classes.
    """
    layout, x = episode.layout, episode.x
    if layout.shape is None:
        return None
    size, _, n_queries, _ = layout.shape
    if layout.supports_first:
        nodes = x.view(-1, size, x.shape[1])
        n_supports = size - n_queries
        return nodes[:, :n_supports], nodes[:, n_supports:]
    rows = (episode.n_tasks, -1, x.shape[1])
    supports = x.index_select(0, layout.support_nodes).view(rows)
    return supports, x.index_select(0, layout.query_nodes).view(rows)


def equal_support_batch(episode: Episode) -> SupportBatch | None:
    """Return all tasks as one batch; None if their numbers of supports, queries or classes differ.

    Args:
        episode: tasks with features `[N, F]`. Unlabeled nodes are ignored.

    Returns:
        The batch; see `split_supports`.
    """
    parts = split_supports(episode)
    if parts is None:
        return None
    supports, queries = parts
    return SupportBatch(supports, episode.layout.support_one_hot(supports.dtype), queries)


def update_query_stars(graph: Graph, fn: Callable[[SupportBatch], tuple[Tensor, Tensor]]) -> Graph:
    """Replace the nodes by class scores of the queries, and the edges from supports to queries.

    Args:
        graph: a graph on `support_to_query_graph`.
        fn: `batch -> ([G, Q, way], [G, Q, S])`, called once per number of supports, queries and
            classes.

    Returns:
        The graph with nodes as in `map_to_query_scores` and edges `[E, 1]`.
    """
    episode = graph.episode
    n_edges = _n_supports(episode) * torch.tensor(episode.n_queries)
    first_edge = n_edges.cumsum(0) - n_edges
    edges = graph.edges
    parts = []
    for group in _groups(episode, graph.nodes):
        scores, weights = fn(group.batch)
        parts.append((group.query_nodes, scores))
        # Edges are sorted by receiver, then in the order of the supports, as the rows of `weights`.
        index = first_edge[group.tasks][:, None] + torch.arange(weights[0].numel())
        index = index.flatten().to(edges.device)
        edges = edges.to(weights).index_copy(0, index, weights.reshape(-1, 1))
    return graph.replace(nodes=_merge_scores(episode, parts), edges=edges)


def _n_supports(episode: Episode) -> Int[Tensor, " T"]:
    """Return the number of labeled supports of each task, on the CPU."""
    sizes = torch.tensor(episode.sizes)
    return sizes - torch.tensor(episode.n_queries) - torch.tensor(episode.n_unlabeled)


def _groups(episode: Episode, x: Tensor) -> Iterator[_Group]:
    device = episode.y.device
    n_supports, n_queries = _n_supports(episode), torch.tensor(episode.n_queries)
    ways = torch.tensor(episode.way)
    support = torch.nonzero(episode.labeled).flatten()
    query = torch.nonzero(episode.query).flatten()
    first_support = n_supports.cumsum(0) - n_supports
    first_query = n_queries.cumsum(0) - n_queries
    shapes = torch.stack([n_supports, n_queries, ways], dim=1)
    for shape in torch.unique(shapes, dim=0):
        tasks = torch.nonzero((shapes == shape).all(1)).flatten()
        n_support, n_query, way = shape.tolist()
        support_rows = first_support[tasks][:, None] + torch.arange(n_support)
        query_rows = first_query[tasks][:, None] + torch.arange(n_query)
        support_nodes = support[support_rows.to(device)]
        query_nodes = query[query_rows.to(device)]
        one_hot = F.one_hot(episode.y[support_nodes], way).to(x.dtype)
        batch = SupportBatch(x[support_nodes], one_hot, x[query_nodes])
        yield _Group(tasks, query_rows, query_nodes, batch)


def _merge_scores(episode: Episode, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Combine scores `[G, Q, way]` of the queries `[G, Q]` to `[N, max(way)]`."""
    max_way = max(episode.way)
    scores = parts[0][1].new_zeros(len(episode.y), max_way)
    for nodes, values in parts:
        n_missing = max_way - values.shape[2]
        padded = F.pad(values.flatten(0, 1), (0, n_missing), value=-torch.inf)
        scores = scores.index_copy(0, nodes.flatten(), padded)
    return scores
