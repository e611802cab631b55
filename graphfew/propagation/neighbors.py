"""Directed kNN graphs, by any search for neighbors. Start reading at `knn`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError, MissingDependencyError
from graphfew.propagation.feature_blocks import check_finite, check_k, drop_self
from graphfew.propagation.search_choice import (
    auto_search,
    sample_recall,
    search_name,
    uses_cosine,
)

Search = Callable[[Tensor, int], tuple[Tensor, Tensor]]


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbors:
    """The `k` nearest neighbors of each node, itself excluded.

    Attributes:
        index: `[N, k]` int64, nearest first.
        distance: `[N, k]`, as the search computes it.
        search: name of the search, such as `exact_search`.
        recall: share of exact neighbors, measured on a sample; None if it was not measured.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn
        >>> neighbors = knn(torch.tensor([[0.0], [1.0], [4.0]]), 1)
        >>> neighbors.topology.senders.tolist(), neighbors.topology.receivers.tolist()
        ([1, 0, 1], [0, 1, 2])
    """

    index: Int[Tensor, "N k"]
    distance: Float[Tensor, "N k"]
    search: str = ""
    recall: float | None = None

    @cached_property
    def topology(self) -> Topology:
        """The directed kNN graph: each node receives from its neighbors, in the order of `index`.

        `distance.view(-1, 1)` are matching edges `[N * k, 1]`.
        """
        n_nodes, k = self.index.shape
        receivers = torch.arange(n_nodes, device=self.index.device).repeat_interleave(k)
        edge_index = (self.index.reshape(-1), receivers)
        return Topology(n_nodes, self.index.device, edge_index=edge_index)


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
    check_k(k, len(x))
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
    index = index.long()
    if bool((index < 0).any()):
        node = int(torch.nonzero((index < 0).any(1))[0])
        raise InvalidInputError(
            f"pynndescent found fewer than {k} neighbors of node {node}; use exact_search, or a "
            "smaller k"
        )
    return drop_self(index, distance.to(x.dtype))


def knn(
    x: Float[Tensor, "N F"], k: int, *, search: Search = auto_search, recall: bool = False
) -> Neighbors:
    """Find the `k` nearest neighbors of every node.

    The default search is exact up to 30,000 nodes; above, it is `cell_search`, with a recall of 0.98
    or more on embeddings of sentences and photos.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.
        search: `(x, k) -> (indices [N, k], distances [N, k])`, nearest first, without the node
            itself: `auto_search`, `auto_cosine_search`, `exact_search`, `exact_cosine_search`,
            `cell_search`, `cell_cosine_search`, `approximate_search` (set their options with
            `functools.partial`) or any other.
        recall: whether the recall is measured, by exact searches for 500 nodes. The distance is
            cosine for the library's searches by cosine, otherwise Euclidean.

    Returns:
        The neighbors, with the directed kNN graph as `topology`.

    Raises:
        InvalidInputError: `k` is out of range, a value is not finite, or the search returns another
            shape, a node as its own neighbor, or an invalid index.

    Example:
        >>> import torch
        >>> from graphfew.propagation import knn
        >>> knn(torch.tensor([[0.0], [1.0], [4.0]]), 2).index.tolist()
        [[1, 2], [0, 2], [1, 0]]
    """
    check_k(k, len(x))
    check_finite(x)
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
    measured = sample_recall(x, index, unit_length=uses_cosine(search)) if recall else None
    return Neighbors(index, distance, search_name(search, len(x)), measured)
