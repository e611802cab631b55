"""k-nearest-neighbor search without a distance matrix of all pairs, and kNN graphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError, MissingDependencyError
from graphfew.ops.smallest import smallest

Search = Callable[[Tensor, int], tuple[Tensor, Tensor]]
Combine = Callable[[Tensor, Tensor], Tensor]
# Bytes of the distances from a chunk of nodes to all nodes; the search takes about twice as many.
CHUNK_BYTES = 128 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbors:
    """The `k` nearest neighbors of each node, itself excluded.

    Attributes:
        index: `[N, k]` int64, nearest first.
        distance: `[N, k]`, as the search computes it.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn
        >>> neighbors = knn(torch.tensor([[0.0], [1.0], [4.0]]), 1)
        >>> neighbors.topology.senders.tolist(), neighbors.topology.receivers.tolist()
        ([1, 0, 1], [0, 1, 2])
    """

    index: Int[Tensor, "N k"]
    distance: Float[Tensor, "N k"]

    @cached_property
    def topology(self) -> Topology:
        """The directed kNN graph: each node receives from its neighbors, in the order of `index`.

        `distance.view(-1, 1)` are matching edges `[N * k, 1]`.
        """
        n_nodes, k = self.index.shape
        receivers = torch.arange(n_nodes, device=self.index.device).repeat_interleave(k)
        edge_index = (self.index.reshape(-1), receivers)
        return Topology(n_nodes, self.index.device, edge_index=edge_index)


@torch.no_grad()
def exact_search(
    x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find the `k` nearest neighbors of each node by Euclidean distance, exactly.

    Distances are computed from inner products, chunk by chunk. They lose precision if features
    are far from the origin; center such features first. The order of tied neighbors is undefined.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        chunk_size: nodes per matrix product; None to use about 256 MiB.

    Returns:
        Indices, nearest first, and distances, `[N, k]` each.

    Raises:
        InvalidInputError: `k` or `chunk_size` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import exact_search
        >>> exact_search(torch.tensor([[0.0], [1.0], [4.0]]), 1)[0].tolist()
        [[1], [0], [1]]
    """
    squares = _squared_lengths(x)

    def distances(rows: slice) -> Tensor:
        return _squared_distances(x[rows], squares[rows], x, squares)

    index, distance = _nearest_others(distances, x, k, chunk_size)
    return index, distance.sqrt_()


@torch.no_grad()
def exact_cosine_search(
    x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find the `k` nearest neighbors of each node by cosine similarity, exactly.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        chunk_size: nodes per matrix product; None to use about 256 MiB.

    Returns:
        Indices, nearest first, and distances `1 - cos`, `[N, k]` each.

    Raises:
        InvalidInputError: `k` or `chunk_size` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import exact_cosine_search
        >>> exact_cosine_search(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]), 1)[0].tolist()
        [[2], [2], [1]]
    """
    x = F.normalize(x, dim=1)

    def distances(rows: slice) -> Tensor:
        return (x[rows] @ x.T).neg_()

    index, distance = _nearest_others(distances, x, k, chunk_size)
    return index, distance.add_(1)


@torch.no_grad()
def query_neighbors(
    queries: Float[Tensor, "Q F"], x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
    """Find the `k` nodes nearest to each query by Euclidean distance, exactly.

    Args:
        queries: `[Q, F]`, none of them a node of `x`.
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N`.
        chunk_size: queries per matrix product; None to use about 256 MiB.

    Returns:
        Indices into `x`, nearest first, and distances, `[Q, k]` each.

    Raises:
        InvalidInputError: `k` or `chunk_size` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import query_neighbors
        >>> queries, corpus = torch.tensor([[2.0]]), torch.tensor([[0.0], [1.0]])
        >>> index, distance = query_neighbors(queries, corpus, 1)
        >>> index.tolist(), distance.tolist()
        ([[1]], [[1.0]])
    """
    if not 1 <= k <= len(x):
        raise InvalidInputError(
            f"k is {k} and there are {len(x)} nodes; give a k from 1 to {len(x)}"
        )
    step = _rows_per_chunk(chunk_size, x)
    squares, query_squares = _squared_lengths(x), _squared_lengths(queries)
    indices, distances = [], []
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        table = _squared_distances(queries[rows], query_squares[rows], x, squares)
        nearest_distance, nearest_index = smallest(table, k)
        indices.append(nearest_index)
        distances.append(nearest_distance)
    return torch.cat(indices), torch.cat(distances).sqrt_()


def approximate_search(
    x: Float[Tensor, "N F"], k: int, *, metric: str = "euclidean", seed: int = 0
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find approximate nearest neighbors with pynndescent, which is much faster for many nodes.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        metric: pynndescent's name of the metric; `"cosine"` is `1 - cos`.
        seed: seed of the search.

    Returns:
        Indices, nearest first, and distances, `[N, k]` each.

    Raises:
        MissingDependencyError: pynndescent is not installed.
        InvalidInputError: `k` is out of range, or fewer than `k` neighbors of a node were found.

    Example:
        >>> from graphfew.propagation import approximate_search, knn
        >>> neighbors = knn(x, 10, search=approximate_search)  # doctest: +SKIP

    Source:
        Dong, Moses, Li, 2011, Efficient K-Nearest Neighbor Graph Construction for Generic
        Similarity Measures.

    Deviations:
        Those of pynndescent, which initializes with random projection trees.
    """
    _check_k(k, len(x))
    try:
        from pynndescent import NNDescent
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "approximate_search needs pynndescent, which is not installed; "
            "run pip install pynndescent, or use exact_search"
        ) from error
    # pynndescent counts each node as its own nearest neighbor.
    search = NNDescent(
        x.detach().cpu().numpy(), metric=metric, n_neighbors=k + 1, random_state=seed
    )
    index, distance = (torch.as_tensor(part).to(x.device) for part in search.neighbor_graph)
    return _drop_self(index.long(), distance.to(x.dtype))


def knn(x: Float[Tensor, "N F"], k: int, *, search: Search = exact_search) -> Neighbors:
    """Find the `k` nearest neighbors of every node.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        search: `(x, k) -> (indices [N, k], distances [N, k])`, nearest first, without the node
            itself: `exact_search`, `exact_cosine_search`, `approximate_search` (set their options
            with `functools.partial`) or any other.

    Returns:
        The neighbors, with the directed kNN graph as `topology`.

    Raises:
        InvalidInputError: `k` is out of range, or the search returns another shape, a node as its
            own neighbor, or an invalid index.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn
        >>> knn(torch.tensor([[0.0], [1.0], [4.0]]), 2).index.tolist()
        [[1, 2], [0, 2], [1, 0]]
    """
    _check_k(k, len(x))
    index, distance = search(x, k)
    if index.shape != (len(x), k) or distance.shape != (len(x), k):
        raise InvalidInputError(
            f"the search returned indices {tuple(index.shape)} and distances "
            f"{tuple(distance.shape)}; it must return [N, k] of both, {(len(x), k)}"
        )
    # A custom search may return anything, and a wrong index fails only later and elsewhere.
    is_self = index == torch.arange(len(x), device=index.device)[:, None]
    is_invalid = is_self | (index < 0) | (index >= len(x))
    invalid_nodes = torch.nonzero(is_invalid.any(1)).flatten()
    if len(invalid_nodes):
        node = int(invalid_nodes[0])
        raise InvalidInputError(
            f"the search returned the neighbors {index[node].tolist()} for node {node}; they must "
            f"be other nodes from 0 to {len(x) - 1}"
        )
    return Neighbors(index, distance)


def union_graph(
    topology: Topology, edges: Float[Tensor, "E C"], combine: Combine = torch.maximum
) -> tuple[Topology, Tensor]:
    """Make a graph undirected by keeping edges that exist in either direction.

    Args:
        topology: a graph without repeated edges.
        edges: `[E, C]`.
        combine: computes the value of i → j from those of i → j and j → i, `[E', C]` each, where
            a missing edge has 0. A symmetric function gives a symmetric graph.

    Returns:
        The topology, edges sorted by receiver and then by sender, and the values `[E', C]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn, union_graph
        >>> neighbors = knn(torch.tensor([[0.0], [1.0], [4.0]]), 1)
        >>> topology, edges = union_graph(neighbors.topology, neighbors.distance.view(-1, 1))
        >>> topology.senders.tolist(), edges[:, 0].tolist()
        ([1, 0, 2, 1], [1.0, 1.0, 3.0, 3.0])
    """
    both = _both_directions(topology, edges)
    return both.topology, combine(both.forward, both.backward)


def mutual_graph(
    topology: Topology, edges: Float[Tensor, "E C"], combine: Combine = torch.minimum
) -> tuple[Topology, Tensor]:
    """Make a graph undirected by keeping edges that exist in both directions.

    Args:
        topology: a graph without repeated edges.
        edges: `[E, C]`.
        combine: computes the value of i → j from those of i → j and j → i, `[E', C]` each.

    Returns:
        The topology, edges sorted by receiver and then by sender, and the values `[E', C]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn, mutual_graph
        >>> neighbors = knn(torch.tensor([[0.0], [1.0], [4.0]]), 1)
        >>> topology, edges = mutual_graph(neighbors.topology, neighbors.distance.view(-1, 1))
        >>> topology.senders.tolist(), edges[:, 0].tolist()
        ([1, 0], [1.0, 1.0])
    """
    both = _both_directions(topology, edges)
    mutual = torch.nonzero(both.is_mutual).flatten()
    edge_index = (both.topology.senders[mutual], both.topology.receivers[mutual])
    undirected = Topology(topology.num_nodes, topology.device, edge_index=edge_index)
    return undirected, combine(both.forward[mutual], both.backward[mutual])


@dataclasses.dataclass(frozen=True, eq=False)
class _BothDirections:
    """The edges of the union graph, each edge's value and that of its reverse."""

    topology: Topology
    forward: Tensor
    backward: Tensor
    is_mutual: Tensor


def _both_directions(topology: Topology, edges: Tensor) -> _BothDirections:
    n = topology.num_nodes
    # One integer per edge, which sorts by receiver and then by sender.
    forward_code = topology.receivers * n + topology.senders
    backward_code = topology.senders * n + topology.receivers
    # A self-loop is its own reverse; both of its directions get the same position.
    code, position = torch.unique(torch.cat([forward_code, backward_code]), return_inverse=True)
    values, exists = [], []
    for index in position.chunk(2):
        values.append(edges.new_zeros(len(code), edges.shape[1]).index_copy(0, index, edges))
        absent = torch.zeros(len(code), dtype=torch.bool, device=code.device)
        exists.append(absent.index_fill(0, index, True))
    union = Topology(n, topology.device, edge_index=(code % n, code // n))
    return _BothDirections(union, values[0], values[1], exists[0] & exists[1])


def _squared_lengths(rows: Tensor) -> Tensor:
    out: Tensor = torch.linalg.vector_norm(rows, dim=1).square()
    return out


def _squared_distances(rows: Tensor, row_squares: Tensor, x: Tensor, squares: Tensor) -> Tensor:
    """Squared distances of rows to all nodes, with the rounding of `affinity.squared_distances`."""
    out: Tensor = (row_squares[:, None] + squares).sub_(rows @ x.T, alpha=2).clamp_min_(0)
    return out


def _nearest_others(
    distances: Callable[[slice], Tensor], x: Tensor, k: int, chunk_size: int | None
) -> tuple[Tensor, Tensor]:
    """The `k` smallest distances of each node to others; `distances(rows)` is `[rows, N]`."""
    n_nodes = len(x)
    _check_k(k, n_nodes)
    step = _rows_per_chunk(chunk_size, x)
    index = x.new_empty(n_nodes, k, dtype=torch.int64)
    distance = x.new_empty(n_nodes, k)
    for start in range(0, n_nodes, step):
        rows = slice(start, min(start + step, n_nodes))
        table = distances(rows)
        table.diagonal(start).fill_(torch.inf)  # the distances to the nodes themselves
        distance[rows], index[rows] = smallest(table, k)
    return index, distance


def _rows_per_chunk(chunk_size: int | None, x: Tensor) -> int:
    if chunk_size is not None and chunk_size < 1:
        raise InvalidInputError(
            f"chunk_size is {chunk_size}; give at least 1 node, or None to use about "
            f"{2 * CHUNK_BYTES} bytes"
        )
    return chunk_size or max(1, CHUNK_BYTES // (len(x) * x.element_size()))


def _drop_self(index: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the node itself from its `k + 1` neighbors, or the last one if it is not among them.

    With duplicates of a node, `k + 1` others can be as near as the node itself.
    """
    n_nodes, n_found = index.shape
    if bool((index < 0).any()):
        node = int(torch.nonzero((index < 0).any(1))[0])
        raise InvalidInputError(
            f"pynndescent found fewer than {n_found - 1} neighbors of node {node}; use "
            f"exact_search, or a smaller k"
        )
    is_dropped = index == torch.arange(n_nodes, device=index.device)[:, None]
    is_dropped[:, -1] |= ~is_dropped.any(1)
    return index[~is_dropped].view(n_nodes, -1), distance[~is_dropped].view(n_nodes, -1)


def _check_k(k: int, n_nodes: int) -> None:
    if not 1 <= k < n_nodes:
        raise InvalidInputError(
            f"k is {k} and there are {n_nodes} nodes, so each node has {n_nodes - 1} others; give "
            f"a k from 1 to {n_nodes - 1}"
        )
