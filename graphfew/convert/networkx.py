"""Tasks as networkx graphs, and back."""

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

if TYPE_CHECKING:
    Net = nx.Graph[int]
else:
    Net = nx.Graph


def to_networkx(
    source: Graph | Episode, task: int = 0, *, channel: int = 0, features: bool = False
) -> Net:
    """One task's items as a networkx graph; an edge's weight is the mean of both directions of that channel.

    Nodes are numbered inside the task, with attributes `label` (class index, `-1` where unknown) and `query`; the net
    of an `Episode` has no edges.

    Args:
        source: class nodes of a graph are left out, and so are self-loops and edges of weight 0.
        task: which of its tasks.
        channel: of the edges.
        features: give each node an attribute `x` as well, a NumPy array.

    Raises:
        IndexError: no such task or channel.
    """
    episode = source if isinstance(source, Episode) else source.episode
    first, size = sum(episode.sizes[:task]), episode.sizes[task]
    x = source.x if isinstance(source, Episode) else source.nodes
    out: Net = nx.Graph()
    for node in range(size):
        out.add_node(
            node, label=int(episode.y[first + node]), query=bool(episode.query[first + node])
        )
        if features:
            out.nodes[node]["x"] = x[first + node].detach().cpu().numpy()
    if isinstance(source, Graph):
        both = _weights(source, first, size, channel)
        rows, columns = np.nonzero(np.triu(both, 1))
        out.add_weighted_edges_from(
            (int(i), int(j), float(both[i, j])) for i, j in zip(rows, columns, strict=True)
        )
    return out


def from_networkx(
    nets: nx.Graph[Any] | Sequence[nx.Graph[Any]],
    *,
    x: str = "x",
    label: str = "label",
    query: str = "query",
    weight: str | None = "weight",
    dtype: torch.dtype | None = None,
) -> Graph:
    """The graph of one task per net, with its episode; items stand in each net's own order of nodes.

    An edge of an undirected net goes both ways with one value; of a `DiGraph` it goes from its first node to its second
    one. Edges come in order of receiver, then sender; no self-loops are added. Only a net that has every edge and
    every self-loop is a complete graph, as methods build it; for those, take the graph's `episode`.

    Args:
        nets: a `Graph` or `DiGraph`, or several.
        x: the node attribute that holds the item, an array of one shape for all.
        label: the attribute with its class index, `-1` or None where unknown; of a query it must be unknown.
        query: the attribute that is true for queries.
        weight: the edge attribute that holds its value; None makes every edge 1.
        dtype: of items and edges; None keeps that of the items, where it is floating.

    Shapes:
        of the graph: nodes `[N, F]` are the items laid flat, edges `[E, 1]`; its `episode` has the items as they are.

    Raises:
        TypeError, ValueError: a net that is a multigraph or lacks an attribute; items of different shapes; or as
            `Episode` does.
    """
    several = [nets] if isinstance(nets, nx.Graph) else list(nets)
    if not several:
        raise ValueError("from_networkx got no nets; pass at least one")
    tasks = [
        _episode(net, (x, label, query), dtype, f" of net {number}" if len(several) > 1 else "")
        for number, net in enumerate(several)
    ]
    episode = collate(tasks)
    kind = (
        episode.x.dtype if episode.x.dtype.is_floating_point else dtype or torch.get_default_dtype()
    )
    ends, values, start = [], [], 0
    for net in several:
        place = {node: start + number for number, node in enumerate(net)}
        for a, b, attributes in net.edges(data=True):
            value = _value(attributes, weight, a, b)
            both = [(a, b)] if net.is_directed() or a == b else [(a, b), (b, a)]
            ends += [(place[one], place[other]) for one, other in both]
            values += [value] * len(both)
        start += len(net)
    return _graph(
        episode, torch.tensor(ends, dtype=torch.int64).view(-1, 2), torch.tensor(values, dtype=kind)
    )


def _weights(graph: Graph, first: int, size: int, channel: int) -> Any:
    """`[size, size]`: the mean of both directions between a task's items."""
    topology = graph.topology
    inside = (topology.receivers >= first) & (topology.receivers < first + size)
    inside &= (topology.senders >= first) & (topology.senders < first + size)
    weight = torch.zeros(size, size, dtype=torch.float64)
    ends = (topology.receivers[inside].cpu() - first, topology.senders[inside].cpu() - first)
    weight[ends] = graph.edges[inside, channel].detach().double().cpu()
    return ((weight + weight.T) / 2).numpy()


def _episode(
    net: nx.Graph[Any], names: tuple[str, str, str], dtype: torch.dtype | None, where: str
) -> Episode:
    if net.is_multigraph():
        raise TypeError(
            f"the net{where} is a {type(net).__name__}; merge its parallel edges: an edge has one value"
        )
    if not len(net):
        raise ValueError(f"the net{where} has no nodes; a task needs items")
    x, label, query = names
    for node, attributes in net.nodes(data=True):
        missing = [name for name in names if name not in attributes]
        if missing:
            raise ValueError(
                f"node {node!r}{where} has no attribute {missing[0]!r}; every node needs {x!r} (its "
                f"item), {label!r} (class index, -1 unknown) and {query!r} (true or false)"
            )
    items = _stacked(
        {node: attributes[x] for node, attributes in net.nodes(data=True)}, dtype, where
    )
    labels = [net.nodes[node][label] for node in net]
    y = torch.tensor([UNKNOWN if value is None else int(value) for value in labels])
    asked = torch.tensor([bool(net.nodes[node][query]) for node in net])
    return Episode.single(items, y, asked, max(int(y.max()) + 1, 2))


def _stacked(items: Mapping[Hashable, Any], dtype: torch.dtype | None, where: str) -> Tensor:
    found = {node: torch.as_tensor(item) for node, item in items.items()}
    [(one, first), *rest] = found.items()
    for node, item in rest:
        if item.shape != first.shape:
            raise ValueError(
                f"nodes {one!r} and {node!r}{where} have items of shapes {tuple(first.shape)} and "
                f"{tuple(item.shape)}; all items need one shape"
            )
    stacked = torch.stack(list(found.values()))
    return stacked if dtype is None else stacked.to(dtype)


def _value(attributes: Mapping[str, Any], weight: str | None, a: Hashable, b: Hashable) -> float:
    if weight is None:
        return 1.0
    if weight not in attributes:
        raise ValueError(
            f"the edge {a!r} - {b!r} has no attribute {weight!r}; name another one, or give weight=None"
        )
    return float(attributes[weight])


def _graph(episode: Episode, ends: Tensor, values: Tensor) -> Graph:
    n = len(episode.y)
    topology, order = recognize_topology(episode, ends.T, n)
    return Graph(episode.x.reshape(n, -1).to(values.dtype), values[order, None], topology, episode)
