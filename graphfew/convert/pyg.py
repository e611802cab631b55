"""Episodes and graphs as torch-geometric's `Batch`, one `Data` per task, and back."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphfew.convert import pyg_fields
from graphfew.core.builders import recognize_topology
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


def to_pyg_batch(source: Episode | Graph) -> Batch:
    """One `Data` per task, in order, as the `Batch` that torch-geometric's own loader would make of them.

    Shapes:
        of each task's Data: x `[n, ...]`, of a graph with class nodes `[n + way, F]`, which follow the items; y and
        query `[n]`; way `[1]`; of a graph edge_index `[2, e]` (sender, receiver) and edge_attr `[e, C]`.

    Raises:
        ValueError: an edge that joins two tasks, or nodes that are neither items nor one class node per class.
    """
    episode = source if isinstance(source, Episode) else source.episode
    rows = [torch.split(values, list(episode.sizes)) for values in (episode.y, episode.query)]
    fields = [
        {"y": y, "query": query, "way": torch.tensor([way], device=y.device)}
        for y, query, way in zip(*rows, episode.way, strict=True)
    ]
    own = (
        torch.split(episode.x, list(episode.sizes))
        if isinstance(source, Episode)
        else _split_nodes(source)
    )
    edges = itertools.repeat({}) if isinstance(source, Episode) else _split_edges(source)
    return Batch.from_data_list(
        [
            Data(x=x, **labels, **joined)
            for x, labels, joined in zip(own, fields, edges, strict=False)
        ]
    )


def episode_from_pyg(data: Data) -> Episode:
    """The episode in a torch-geometric `Data` or `Batch` with x, y, query, and sizes and way.

    A `Batch` holds one `Data` per task, or several tasks in each; nodes keep their order. If sizes is absent, `batch`
    gives the tasks, and without it all nodes are one task; if way is absent, labels give it. Rows of x after those of
    y are class nodes and are left out.

    Raises:
        TypeError, ValueError: as the constructor does; x, y or query is missing or too short, or a `batch` that is not
            in ascending order.
    """
    return Episode(*pyg_fields.items(data))


def from_pyg(data: Data) -> Graph:
    """The graph in a torch-geometric `Data` or `Batch`, with its episode; the way back from `to_batch` and `to_pyg`.

    Items keep their order, task by task; class nodes follow all items. Edges are put in order of receiver, then sender.

    Args:
        data: x, y, query, edge_index and edge_attr, see `to_batch`; without edge_attr every edge is 1. Without sizes
            and batch it is one task, without way it has as many classes as labels tell.

    Raises:
        ValueError: a field is missing or of a wrong length, or as `Episode` does.
    """
    parts = pyg_fields.parts(data)
    for part in parts:
        _check_edges(part)
    given = episode_from_pyg(data)
    counts = [len(part.y) for part in parts]
    extra = [len(part.x) - count for part, count in zip(parts, counts, strict=True)]
    nodes = torch.cat(
        [part.x[:n] for part, n in zip(parts, counts, strict=True)]
        + [part.x[n:] for part, n in zip(parts, counts, strict=True)]
    )
    starts = zip(
        itertools.accumulate(counts, initial=0),
        itertools.accumulate(extra, initial=sum(counts)),
        strict=True,
    )
    index = torch.cat(
        [
            torch.where(part.edge_index < n, part.edge_index + first, part.edge_index - n + after)
            for part, n, (first, after) in zip(parts, counts, starts, strict=False)
        ],
        dim=1,
    )
    topology, order = recognize_topology(given, index, len(nodes))
    return Graph(nodes, torch.cat([_edge_values(part) for part in parts])[order], topology, given)


def _split_nodes(graph: Graph) -> list[Tensor]:
    episode = graph.episode
    items = len(episode.y)
    parts = list(torch.split(graph.nodes[:items], list(episode.sizes)))
    if len(graph.nodes) == items:
        return parts
    _check_classes(graph)
    classes = torch.split(graph.nodes[items:], list(episode.way))
    return [torch.cat(both) for both in zip(parts, classes, strict=True)]


def _split_edges(graph: Graph) -> list[dict[str, Tensor]]:
    """Each task's edge_index, numbered inside the task, and edge_attr."""
    episode, topology = graph.episode, graph.topology
    _check_classes(graph)
    way = torch.tensor(episode.way, device=episode.y.device)
    sizes = torch.tensor(episode.sizes, device=episode.y.device)
    task, items = episode.task, len(episode.y)
    inside = torch.arange(items, device=task.device) - (sizes.cumsum(0) - sizes)[task]
    if len(graph.nodes) > items:
        own = torch.repeat_interleave(way)
        classes = (
            torch.arange(len(own), device=task.device) - (way.cumsum(0) - way)[own] + sizes[own]
        )
        task, inside = torch.cat([task, own]), torch.cat([inside, classes])
    of_edge = task[topology.receivers]
    if bool((of_edge != task[topology.senders]).any()):
        raise ValueError(
            "an edge joins two tasks; a Batch has one graph per task, so use graph.to_pyg()"
        )
    order = torch.argsort(of_edge, stable=True)
    counts = torch.bincount(of_edge, minlength=episode.n_tasks).tolist()
    index = torch.stack([inside[topology.senders], inside[topology.receivers]])[:, order]
    return [
        {"edge_index": part, "edge_attr": values}
        for part, values in zip(
            torch.split(index, counts, dim=1), torch.split(graph.edges[order], counts), strict=True
        )
    ]


def _check_classes(graph: Graph) -> None:
    extra, way = len(graph.nodes) - len(graph.episode.y), graph.episode.way
    if extra not in (0, sum(way)):
        raise ValueError(
            f"the graph has {extra} nodes beside its items, and {sum(way)} classes; a Batch takes graphs "
            "of items alone or with one node per class, so use graph.to_pyg()"
        )


def _check_edges(part: Data) -> None:
    index = part.get("edge_index")
    if index is None:
        raise ValueError(
            "the Data has no edge_index; a graph needs it as [2, E] (for items alone: episode_from_pyg)"
        )
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(part.x):
        raise ValueError(
            f"edge_index names nodes {int(index.min())} to {int(index.max())}; x has {len(part.x)} rows"
        )
    values = part.get("edge_attr")
    if values is not None and len(values) != index.shape[1]:
        raise ValueError(
            f"edge_attr has {len(values)} rows and edge_index {index.shape[1]} edges; give one per edge"
        )


def _edge_values(part: Data) -> Tensor:
    values: Tensor | None = part.get("edge_attr")
    if values is None:
        values = torch.ones(part.edge_index.shape[1], dtype=part.x.dtype, device=part.x.device)
    return values[:, None] if values.ndim == 1 else values
