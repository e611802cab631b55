"""Nearest neighbors of many nodes without a table of all pairs, and the graphs that they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.topology import Topology

Search = Callable[[Tensor, int], tuple[Tensor, Tensor]]
Combine = Callable[[Tensor, Tensor], Tensor]
# What a table of distances from some nodes to all may take while neighbors are sought, in bytes.
TABLE = 128 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbors:
    """The `k` nearest of each node, itself never among them.

    Shapes:
        index: `[N, k]` int64, the nearest first.
        distance: `[N, k]`, as the search that found them has it.
    """

    index: Int[Tensor, "N k"]
    distance: Float[Tensor, "N k"]

    @cached_property
    def topology(self) -> Topology:
        """Every node receives from its `k` nearest, in the order of `index`; `distance.view(-1, 1)` are its edges."""
        nodes, k = self.index.shape
        receivers = torch.arange(nodes, device=self.index.device).repeat_interleave(k)
        return Topology(nodes, self.index.device, edge_index=(self.index.reshape(-1), receivers))


@torch.no_grad()
def exact_search(
    x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The `k` nearest by Euclidean distance: indices and distances `[N, k]`, by matrix products of some nodes with all.

    Distances are differences of squared lengths, so features far from the origin are better centerd first. Which of
    several nodes at one distance is taken is not defined.

    Args:
        x: nodes `[N, F]`.
        k: neighbors of each.
        chunk_size: nodes whose distances to all are held at once; None takes as many as fit in 256 MiB.

    Raises:
        ValueError: `k` below 1 or not below N, or `chunk_size` below 1.
    """
    lengths = torch.linalg.vector_norm(x, dim=1).square()
    index, distance = _nearest(
        lambda some: _squared(x[some], lengths[some], x, lengths), x, k, chunk_size
    )
    return index, distance.sqrt_()


@torch.no_grad()
def exact_cosine_search(
    x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The `k` nearest by cosine: indices and `1 - cos`, `[N, k]`; all else, and what is raised, as in `exact`."""
    x = F.normalize(x, dim=1)
    index, distance = _nearest(lambda some: (x[some] @ x.T).neg_(), x, k, chunk_size)
    return index, distance.add_(1)


@torch.no_grad()
def query_neighbors(
    queries: Float[Tensor, "Q F"], x: Float[Tensor, "N F"], k: int, *, chunk_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The `k` nodes of x nearest to each query by Euclidean distance: indices and distances `[Q, k]`.

    Args:
        queries: `[Q, F]`, none of them a node of x.
        x: nodes `[N, F]`.
        k: neighbors of each.
        chunk_size: queries whose distances to all nodes are held at once; None takes as many as fit in 256 MiB.

    Raises:
        ValueError: `k` below 1 or above N, or `chunk_size` below 1.
    """
    if not 1 <= k <= len(x):
        raise ValueError(f"k is {k} and there are {len(x)} nodes; give a k from 1 to {len(x)}")
    step = _step(chunk_size, x)
    lengths, own = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (x, queries))
    parts = []
    for start in range(0, len(queries), step):
        some = slice(start, start + step)
        parts.append(_squared(queries[some], own[some], x, lengths).topk(k, dim=1, largest=False))
    return torch.cat([part.indices for part in parts]), torch.cat(
        [part.values for part in parts]
    ).sqrt_()


def approximate_search(
    x: Float[Tensor, "N F"], k: int, *, metric: str = "euclidean", seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Nearly the `k` nearest, by pynndescent, far sooner where nodes are very many: indices and distances `[N, k]`.

    Args:
        x: nodes `[N, F]`.
        k: neighbors of each.
        metric: pynndescent's name of it; its "cosine" is `1 - cos`, as `exact_cosine` has it.
        seed: of the search.

    Raises:
        ModuleNotFoundError: pynndescent is not installed.
        ValueError: `k` below 1 or not below N, or nodes for which fewer than `k` were found.

    Source: Dong, Moses, Li, 2011, Efficient K-Nearest Neighbor Graph Construction for Generic Similarity Measures.

    Deviations: those of pynndescent, which begins with random projection trees.
    """
    _check_k(k, len(x))
    try:
        from pynndescent import NNDescent
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "approximate search is done by pynndescent, which is not installed; "
            "pip install pynndescent, or search with graphfew.neighbors.exact"
        ) from error
    found = NNDescent(
        x.detach().cpu().numpy(), metric=metric, n_neighbors=k + 1, random_state=seed
    ).neighbor_graph
    index, distance = (torch.as_tensor(part).to(x.device) for part in found)
    return _without_self(index.long(), distance.to(x.dtype))


def knn(x: Float[Tensor, "N F"], k: int, *, search: Search = exact_search) -> Neighbors:
    """The `k` nearest neighbors of every node, at a memory of `N k` and what the search takes.

    Args:
        x: nodes `[N, F]`.
        k: neighbors of each, `1 .. N-1`.
        search: `(x, k) -> indices [N, k], distances [N, k]`, the nearest first and no node its own: `exact`,
            `exact_cosine`, `approximate` (`functools.partial` sets their options), or any other.

    Raises:
        ValueError: `k` out of range, or a search that answers in another shape, with a node's own index or with nodes
            that there are not.
    """
    _check_k(k, len(x))
    index, distance = search(x, k)
    if index.shape != (len(x), k) or distance.shape != (len(x), k):
        raise ValueError(
            f"the search gave indices {tuple(index.shape)} and distances {tuple(distance.shape)}; it must "
            f"give [N, k] of both, {(len(x), k)}"
        )
    own = index == torch.arange(len(x), device=index.device)[:, None]
    wrong = torch.nonzero((own | (index < 0) | (index >= len(x))).any(1)).flatten()
    if len(wrong):
        node = int(wrong[0])
        raise ValueError(
            f"the search gave node {node} the neighbors {index[node].tolist()}; they must be others of "
            f"the nodes 0 to {len(x) - 1}"
        )
    return Neighbors(index, distance)


def union_graph(
    topology: Topology, edges: Float[Tensor, "E C"], combine: Combine = torch.maximum
) -> tuple[Topology, Tensor]:
    """Both directions of every edge that there is in one, and their values `[E', C]`; by sender inside each receiver.

    Args:
        topology: no edge twice.
        edges: `[E, C]`.
        combine: the new value of i → j from those of i → j and of j → i, `[E', C]` each, 0 where there is no edge. One
            that does not care for their order gives a symmetric graph.
    """
    directed = _both_directions(topology, edges)
    return directed.topology, combine(directed.there, directed.back)


def mutual_graph(
    topology: Topology, edges: Float[Tensor, "E C"], combine: Combine = torch.minimum
) -> tuple[Topology, Tensor]:
    """The edges that there are in both directions and their values `[E', C]`; arguments as those of `union`."""
    directed = _both_directions(topology, edges)
    keep = torch.nonzero(directed.mutual).flatten()
    links = (directed.topology.senders[keep], directed.topology.receivers[keep])
    return Topology(topology.num_nodes, topology.device, edge_index=links), combine(
        directed.there[keep], directed.back[keep]
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Directions:
    """All edges of the union, the value of each and of its mirror image, and whether both were there."""

    topology: Topology
    there: Tensor
    back: Tensor
    mutual: Tensor


def _both_directions(topology: Topology, edges: Tensor) -> _Directions:
    n = topology.num_nodes
    forward, mirrored = (
        a * n + b
        for a, b in ((topology.receivers, topology.senders), (topology.senders, topology.receivers))
    )
    code, place = torch.unique(torch.cat([forward, mirrored]), return_inverse=True)
    # A loop is its own mirror image, and has both directions at one place.
    there, back = (
        edges.new_zeros(len(code), edges.shape[1]).index_copy(0, where, edges)
        for where in place.chunk(2)
    )
    seen = [
        torch.zeros(len(code), dtype=torch.bool, device=code.device).index_fill(0, where, True)
        for where in place.chunk(2)
    ]
    return _Directions(
        Topology(n, topology.device, edge_index=(code % n, code // n)),
        there,
        back,
        seen[0] & seen[1],
    )


def _squared(rows: Tensor, own: Tensor, x: Tensor, lengths: Tensor) -> Tensor:
    """Squared distances of some rows to all nodes, from both and their squared lengths; rounded as
    `affinity.squared_distances` is."""
    out: Tensor = (own[:, None] + lengths).sub_(rows @ x.T, alpha=2).clamp_min_(0)
    return out


def _nearest(
    table: Callable[[slice], Tensor], x: Tensor, k: int, chunk_size: int | None
) -> tuple[Tensor, Tensor]:
    """The `k` smallest of each row but its own, from `table(rows) -> [rows, N]`, which may be written to."""
    nodes = len(x)
    _check_k(k, nodes)
    step = _step(chunk_size, x)
    index, distance = x.new_empty(nodes, k, dtype=torch.int64), x.new_empty(nodes, k)
    for start in range(0, nodes, step):
        some = slice(start, min(start + step, nodes))
        rows = table(some)
        rows.diagonal(start).fill_(torch.inf)
        torch.topk(rows, k, dim=1, largest=False, out=(distance[some], index[some]))
    return index, distance


def _step(chunk_size: int | None, x: Tensor) -> int:
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(
            f"chunk_size is {chunk_size}; give at least 1 node, or None for as many as fit in {2 * TABLE} bytes"
        )
    return chunk_size or max(1, TABLE // (len(x) * x.element_size()))


def _without_self(index: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Each row of `k + 1` without its own node, or without its last where that is not there, as among duplicates."""
    nodes, wide = index.shape
    if bool((index < 0).any()):
        node = int(torch.nonzero((index < 0).any(1))[0])
        raise ValueError(
            f"pynndescent found fewer than {wide - 1} neighbors of node {node}; search with "
            f"graphfew.propagation.neighbors.exact_search, or ask for fewer"
        )
    drop = index == torch.arange(nodes, device=index.device)[:, None]
    drop[:, -1] |= ~drop.any(1)
    return index[~drop].view(nodes, -1), distance[~drop].view(nodes, -1)


def _check_k(k: int, nodes: int) -> None:
    if not 1 <= k < nodes:
        raise ValueError(
            f"k is {k} and there are {nodes} nodes; a node has {nodes - 1} others, so give a k from 1 to "
            f"{nodes - 1}"
        )
