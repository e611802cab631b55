"""Conversion of tasks from and to networkx graphs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from graphfew.core.builders import recognize_topology
from graphfew.core.episode import UNKNOWN, Episode, collate
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError, InvalidTypeError

if TYPE_CHECKING:
    # Only the stubs of networkx make its graphs generic.
    TaskGraph = nx.Graph[int]
else:
    TaskGraph = nx.Graph


def to_networkx(
    source: Graph | Episode, task: int = 0, *, channel: int = 0, features: bool = False
) -> TaskGraph:
    """Convert one task to an undirected networkx graph.

    Nodes are numbered inside the task. Their attributes are `label` (class index, `-1` if
    unknown) and `query`. The weight of an edge is the mean of both directions.

    Args:
        source: a graph, or an episode, which gives a graph without edges. Class nodes,
            self-loops and edges of weight 0 are left out.
        task: index of the task.
        channel: channel of the edges that becomes the weight.
        features: whether nodes get an attribute `x`, a NumPy array, too.

    Returns:
        A `networkx.Graph` of the items of the task.

    Raises:
        IndexError: the task or channel does not exist.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> gf.convert.to_networkx(episode).nodes[2]
        {'label': -1, 'query': True}
    """
    if isinstance(source, Episode):
        episode = source
        x = source.x
    else:
        episode = source.episode
        x = source.nodes
    first = sum(episode.sizes[:task])
    size = episode.sizes[task]
    out: TaskGraph = nx.Graph()
    for node in range(size):
        item = first + node
        label = int(episode.y[item])
        is_query = bool(episode.query[item])
        out.add_node(node, label=label, query=is_query)
        if features:
            out.nodes[node]["x"] = x[item].detach().cpu().numpy()
    if isinstance(source, Graph):
        weights = _weight_matrix(source, first, size, channel)
        # The upper triangle without the diagonal: each edge once, and no self-loops.
        rows, columns = np.nonzero(np.triu(weights, 1))
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            out.add_edge(i, j, weight=float(weights[i, j]))
    return out


def from_networkx(
    graphs: nx.Graph[Any] | Sequence[nx.Graph[Any]],
    *,
    x: str = "x",
    label: str = "label",
    query: str = "query",
    weight: str | None = "weight",
    dtype: torch.dtype | None = None,
) -> Graph:
    """Convert networkx graphs, one per task, to a graph with its episode.

    An edge of an undirected graph is copied to both directions; an edge of a `DiGraph` points
    from its first to its second node. No self-loops are added. Only a networkx graph with every
    edge and every self-loop becomes a complete graph, as methods build it; to run a method, use
    the `episode` of the result.

    Args:
        graphs: a `Graph` or `DiGraph`, or several.
        x: name of the node attribute with the item: a number, or an array.
        label: name of the node attribute with the class index, `-1` or None if unknown.
        query: name of the node attribute that is true for queries.
        weight: name of the edge attribute with the value of the edge; None makes every edge 1.
        dtype: of items and edges; None keeps that of the items if it is floating.

    Returns:
        A graph whose nodes `[N, F]` are the flattened items, in the node order of the networkx
        graphs, with edges `[E, 1]` sorted by receiver, then sender. Its `episode` has the items
        in their original shape.

    Raises:
        InvalidTypeError: a graph is a multigraph, or as the constructor of `Episode`.
        InvalidInputError: an attribute is missing, items have different shapes, or as the
            constructor of `Episode`.

    Example:
        >>> import networkx
        >>> import graphfew as gf
        >>> task = networkx.path_graph(3)
        >>> for node, label in enumerate([0, -1, 1]):
        ...     task.nodes[node].update(x=[float(node)], label=label, query=label < 0)
        >>> gf.convert.from_networkx(task, weight=None).topology.senders.tolist()
        [1, 0, 2, 1]
    """
    tasks = [graphs] if isinstance(graphs, nx.Graph) else list(graphs)
    if not tasks:
        raise InvalidInputError("from_networkx got no graphs; pass at least one")
    # Messages name the graph only if there are several.
    episodes = []
    for number, task in enumerate(tasks):
        where = f" of graph {number}" if len(tasks) > 1 else ""
        episodes.append(_episode(task, (x, label, query), dtype, where))
    episode = collate(episodes)
    # Items may be int64 tokens, while edges are always floating.
    edge_dtype = episode.x.dtype
    if not edge_dtype.is_floating_point:
        edge_dtype = dtype or torch.get_default_dtype()
    edge_index, values = _edge_lists(tasks, weight)
    n_items = len(episode.y)
    index = torch.tensor(edge_index, dtype=torch.int64).view(-1, 2).T
    topology, order = recognize_topology(episode, index, n_items)
    edges = torch.tensor(values, dtype=edge_dtype)[order, None]
    nodes = episode.x.reshape(n_items, -1).to(edge_dtype)
    return Graph(nodes, edges, topology, episode)


def _weight_matrix(graph: Graph, first: int, size: int, channel: int) -> Any:
    """Return the mean of both directions between the items of a task, `[size, size]`."""
    receivers = graph.topology.receivers - first
    senders = graph.topology.senders - first
    # Numbers inside the task: other tasks and class nodes fall outside 0 .. size-1.
    receiver_inside = (receivers >= 0) & (receivers < size)
    sender_inside = (senders >= 0) & (senders < size)
    inside = receiver_inside & sender_inside
    weight = torch.zeros(size, size, dtype=torch.float64)
    cells = (receivers[inside].cpu(), senders[inside].cpu())
    # In double precision, so that the mean is not rounded to float32.
    weight[cells] = graph.edges[inside, channel].detach().double().cpu()
    mean = (weight + weight.T) / 2
    return mean.numpy()


def _edge_lists(
    graphs: Sequence[nx.Graph[Any]], weight: str | None
) -> tuple[list[tuple[int, int]], list[float]]:
    """Return (sender, receiver) and the value of each edge, nodes numbered over all graphs."""
    edge_index: list[tuple[int, int]] = []
    values: list[float] = []
    first = 0
    for graph in graphs:
        index = {node: first + number for number, node in enumerate(graph)}
        for a, b, attributes in graph.edges(data=True):
            value = _edge_value(attributes, weight, a, b)
            edge_index.append((index[a], index[b]))
            values.append(value)
            # networkx lists an undirected edge once.
            if a != b and not graph.is_directed():
                edge_index.append((index[b], index[a]))
                values.append(value)
        first += len(graph)
    return edge_index, values


def _episode(
    graph: nx.Graph[Any], names: tuple[str, str, str], dtype: torch.dtype | None, where: str
) -> Episode:
    if graph.is_multigraph():
        raise InvalidTypeError(
            f"the graph{where} is a {type(graph).__name__}; merge its parallel edges, since an "
            "edge has one value"
        )
    if not len(graph):
        raise InvalidInputError(f"the graph{where} has no nodes; a task needs items")
    x, label, query = names
    for node, attributes in graph.nodes(data=True):
        missing = [name for name in names if name not in attributes]
        if missing:
            raise InvalidInputError(
                f"node {node!r}{where} has no attribute {missing[0]!r}; every node needs {x!r} "
                f"(its item), {label!r} (class index, -1 unknown) and {query!r} (true or false)"
            )
    items: dict[Hashable, Any] = {}
    labels: list[int] = []
    is_query: list[bool] = []
    for node, attributes in graph.nodes(data=True):
        items[node] = attributes[x]
        value = attributes[label]
        labels.append(UNKNOWN if value is None else int(value))
        is_query.append(bool(attributes[query]))
    y = torch.tensor(labels)
    query_mask = torch.tensor(is_query)
    # An episode needs two classes; its constructor reports a class without support by name.
    way = max(int(y.max()) + 1, 2)
    stacked = _stack_items(items, dtype, where)
    return Episode.single(stacked, y, query_mask, way)


def _stack_items(items: Mapping[Hashable, Any], dtype: torch.dtype | None, where: str) -> Tensor:
    tensors = {node: torch.as_tensor(item) for node, item in items.items()}
    [(first_node, first), *rest] = tensors.items()
    for node, item in rest:
        if item.shape != first.shape:
            raise InvalidInputError(
                f"nodes {first_node!r} and {node!r}{where} have items of shapes "
                f"{tuple(first.shape)} and {tuple(item.shape)}; all items need the same shape"
            )
    # The order of the dict is that of the nodes in the networkx graph.
    stacked = torch.stack(list(tensors.values()))
    return stacked if dtype is None else stacked.to(dtype)


def _edge_value(
    attributes: Mapping[str, Any], weight: str | None, a: Hashable, b: Hashable
) -> float:
    if weight is None:
        return 1.0
    if weight not in attributes:
        raise InvalidInputError(
            f"the edge {a!r} - {b!r} has no attribute {weight!r}; name another one, or give "
            "weight=None"
        )
    return float(attributes[weight])
