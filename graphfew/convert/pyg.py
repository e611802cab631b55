"""Conversion of episodes and graphs from and to torch-geometric's `Data` and `Batch`."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphfew.convert import _pyg_fields
from graphfew.core.builders import recognize_topology
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError


def to_pyg(graph: Graph) -> Data:
    """Convert a graph to one torch-geometric `Data` for all its tasks.

    `from_pyg` reverses it, and `to_pyg_batch` makes one `Data` per task.

    Args:
        graph: any graph.

    Returns:
        A `Data` with x `[N, F]`, edge_index `[2, E]` (sender, receiver), edge_attr `[E, C]`; y,
        query and task `[items]`; sizes and way `[tasks]`. Class nodes follow the items in x.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> graph = gf.Graph(episode.x, torch.ones(9, 1), gf.complete_graph([3]), episode)
        >>> gf.convert.to_pyg(graph).edge_index.shape
        torch.Size([2, 9])
    """
    episode, topology = graph.episode, graph.topology
    device = episode.y.device
    return Data(
        x=graph.nodes,
        edge_index=torch.stack([topology.senders, topology.receivers]),
        edge_attr=graph.edges,
        y=episode.y,
        query=episode.query,
        task=episode.task,
        sizes=torch.tensor(episode.sizes, device=device),
        way=torch.tensor(episode.way, device=device),
    )


def to_pyg_batch(source: Episode | Graph) -> Batch:
    """Convert each task to one `Data`, and all to a torch-geometric `Batch`.

    Args:
        source: an episode, or a graph whose edges stay inside their tasks.

    Returns:
        The `Batch` that torch-geometric's loader would build. Each `Data` has x `[n, ...]` (with
        class nodes `[n + way, F]`, which follow the items), y and query `[n]`, way `[1]`, and for
        graphs edge_index `[2, e]` (sender, receiver) and edge_attr `[e, C]`.

    Raises:
        InvalidInputError: an edge connects two tasks, or the nodes are neither items alone nor
            items and one node per class.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> gf.convert.to_pyg_batch(gf.collate([episode, episode])).num_graphs
        2
    """
    episode = source.episode if isinstance(source, Graph) else source
    sizes = list(episode.sizes)
    if isinstance(source, Graph):
        x = _split_nodes(source)
        edges = _split_edges(source)
    else:
        x = list(torch.split(episode.x, sizes))
        edges = [{} for _ in sizes]
    y = torch.split(episode.y, sizes)
    query = torch.split(episode.query, sizes)
    tasks = []
    for t, way in enumerate(episode.way):
        way_tensor = torch.tensor([way], device=episode.y.device)
        task = Data(x=x[t], y=y[t], query=query[t], way=way_tensor, **edges[t])
        tasks.append(task)
    return Batch.from_data_list(tasks)


def episode_from_pyg(data: Data) -> Episode:
    """Read an episode from a torch-geometric `Data` or `Batch`.

    Args:
        data: x, y and query, and optionally sizes and way. A `Batch` holds one task, or several,
            in each `Data`. Without sizes, `batch` gives the tasks, and without `batch` all nodes
            are one task; without way, the labels give it. Rows of x after those of y are class
            nodes, and are left out.

    Returns:
        The episode; nodes keep their order.

    Raises:
        InvalidTypeError: as the constructor of `Episode`.
        InvalidInputError: x, y or query is missing or too short, `batch` is not ascending, or as
            the constructor of `Episode`.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> from torch_geometric.data import Data
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> gf.convert.episode_from_pyg(Data(x=torch.eye(3), y=y, query=query)).way
        (2,)
    """
    return Episode(*_pyg_fields.episode_fields(data))


def from_pyg(data: Data) -> Graph:
    """Read a graph and its episode from a torch-geometric `Data` or `Batch`.

    Reverses `to_pyg` and `to_pyg_batch`. Items keep their order, task by task, and class nodes
    follow all items. Edges are sorted by receiver, then sender.

    Args:
        data: the fields of `episode_from_pyg`, edge_index, and optionally edge_attr; without it
            every edge is 1.

    Returns:
        The graph. Complete tasks get the topology of `complete_graph`.

    Raises:
        InvalidInputError: a field is missing or has the wrong length, or as the constructor of
            `Episode`.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> graph = gf.Graph(episode.x, torch.ones(9, 1), gf.complete_graph([3]), episode)
        >>> gf.convert.from_pyg(gf.convert.to_pyg(graph)).topology.sizes
        (3,)
    """
    parts = _pyg_fields.split_batch(data)
    for part in parts:
        _check_edges(part)
    episode = episode_from_pyg(data)
    # A Data holds its items, then its class nodes; a Graph holds all items, then all class nodes.
    n_items = [len(part.y) for part in parts]
    n_class_nodes = [len(part.x) - n for part, n in zip(parts, n_items, strict=True)]
    first_item = list(itertools.accumulate(n_items, initial=0))
    first_class = list(itertools.accumulate(n_class_nodes, initial=sum(n_items)))
    items, class_nodes, indices = [], [], []
    for number, part in enumerate(parts):
        n = n_items[number]
        items.append(part.x[:n])
        class_nodes.append(part.x[n:])
        item = part.edge_index + first_item[number]
        class_node = part.edge_index - n + first_class[number]
        indices.append(torch.where(part.edge_index < n, item, class_node))
    # All items first, then all class nodes: the order of a `Graph`.
    nodes = torch.cat(items + class_nodes)
    edges = torch.cat([_edge_values(part) for part in parts])
    edge_index = torch.cat(indices, dim=1)
    topology, order = recognize_topology(episode, edge_index, len(nodes))
    return Graph(nodes, edges[order], topology, episode)


def _split_nodes(graph: Graph) -> list[Tensor]:
    """Return the items of each task, followed by its class nodes."""
    episode = graph.episode
    n_items = len(episode.y)
    items = list(torch.split(graph.nodes[:n_items], list(episode.sizes)))
    if len(graph.nodes) == n_items:
        return items
    _check_class_nodes(graph)
    class_nodes = torch.split(graph.nodes[n_items:], list(episode.way))
    parts = []
    for task_items, task_classes in zip(items, class_nodes, strict=True):
        parts.append(torch.cat([task_items, task_classes]))
    return parts


def _split_edges(graph: Graph) -> list[dict[str, Tensor]]:
    """Return edge_index, numbered inside the task, and edge_attr of each task."""
    _check_class_nodes(graph)
    topology = graph.topology
    # torch-geometric numbers the nodes of each `Data` from 0 and adds offsets in a `Batch`.
    task, index_in_task = _task_and_index(graph)
    edge_task = task[topology.receivers]
    if bool((edge_task != task[topology.senders]).any()):
        raise InvalidInputError(
            "an edge connects two tasks; a Batch has one graph per task, so use to_pyg(graph)"
        )
    # Class nodes come after all items, so edges sorted by receiver are not sorted by task.
    order = torch.argsort(edge_task, stable=True)
    n_edges = torch.bincount(edge_task, minlength=graph.episode.n_tasks).tolist()
    senders = index_in_task[topology.senders]
    receivers = index_in_task[topology.receivers]
    edge_index = torch.stack([senders, receivers])[:, order]
    indices = torch.split(edge_index, n_edges, dim=1)
    values = torch.split(graph.edges[order], n_edges)
    fields = []
    for index, value in zip(indices, values, strict=True):
        fields.append({"edge_index": index, "edge_attr": value})
    return fields


def _task_and_index(graph: Graph) -> tuple[Tensor, Tensor]:
    """Return the task of each node and its index inside the task, class nodes after items."""
    episode = graph.episode
    device = episode.y.device
    task = episode.task
    n_items = len(episode.y)
    sizes = torch.tensor(episode.sizes, device=device)
    first_item = sizes.cumsum(0) - sizes
    index = torch.arange(n_items, device=device) - first_item[task]
    if len(graph.nodes) == n_items:
        return task, index
    way = torch.tensor(episode.way, device=device)
    class_task = torch.repeat_interleave(way)
    first_class = way.cumsum(0) - way
    class_number = torch.arange(len(class_task), device=device)
    class_index = class_number - first_class[class_task]
    # Inside a `Data`, class nodes follow the items of their task.
    class_index = class_index + sizes[class_task]
    all_tasks = torch.cat([task, class_task])
    all_indices = torch.cat([index, class_index])
    return all_tasks, all_indices


def _check_class_nodes(graph: Graph) -> None:
    n_extra = len(graph.nodes) - len(graph.episode.y)
    n_classes = sum(graph.episode.way)
    if n_extra not in (0, n_classes):
        raise InvalidInputError(
            f"the graph has {n_extra} nodes in addition to its items, and {n_classes} classes; a "
            "Batch needs items alone, or one node per class in addition, so use to_pyg(graph)"
        )


def _check_edges(part: Data) -> None:
    index = part.get("edge_index")
    if index is None:
        raise InvalidInputError(
            "the Data has no edge_index; a graph needs it as [2, E] (for items alone use "
            "episode_from_pyg)"
        )
    # `min` of an empty tensor raises; a graph may have no edges.
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(part.x):
        raise InvalidInputError(
            f"edge_index names nodes {int(index.min())} to {int(index.max())}; "
            f"x has {len(part.x)} rows"
        )
    values = part.get("edge_attr")
    if values is not None and len(values) != index.shape[1]:
        raise InvalidInputError(
            f"edge_attr has {len(values)} rows and edge_index {index.shape[1]} edges; "
            "give one row per edge"
        )


def _edge_values(part: Data) -> Tensor:
    values: Tensor | None = part.get("edge_attr")
    if values is None:
        return torch.ones(part.edge_index.shape[1], 1, dtype=part.x.dtype, device=part.x.device)
    # torch-geometric also allows one scalar per edge, [E].
    return values[:, None] if values.ndim == 1 else values
