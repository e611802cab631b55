"""Which neighbor search is used for how many nodes, and how exact its result is."""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.propagation.cell_index import cell_cosine_search, cell_search
from graphfew.propagation.exact_neighbors import (
    exact_cosine_search,
    exact_search,
    nearest_in_blocks,
)
from graphfew.propagation.feature_blocks import feature_block

# Above this number of nodes, searches are approximate: an exact one takes more than ten seconds on
# one core, and its time grows with the square (see benchmarks/scale/neighbors.py).
EXACT_NODES = 30_000
RECALL_SAMPLES = 500
# Distances of inner products are rounded: a neighbor counts as exact up to this relative difference.
RECALL_TOLERANCE = 1e-3


def auto_search(x: Float[Tensor, "N F"], k: int) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find neighbors by Euclidean distance: exactly up to 30,000 nodes, otherwise by `cell_search`.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.

    Returns:
        Indices, nearest first, and distances, `[N, k]` each.

    Raises:
        InvalidInputError: `k` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import auto_search
        >>> auto_search(torch.tensor([[0.0], [1.0], [4.0]]), 1)[0].tolist()
        [[1], [0], [1]]
    """
    return exact_search(x, k) if len(x) <= EXACT_NODES else cell_search(x, k)


def auto_cosine_search(
    x: Float[Tensor, "N F"], k: int
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Find neighbors by cosine: exactly up to 30,000 nodes, otherwise by `cell_cosine_search`.

    Args:
        x: nodes `[N, F]`.
        k: number of neighbors, `1 .. N-1`.

    Returns:
        Indices, nearest first, and distances `1 - cos`, `[N, k]` each.

    Raises:
        InvalidInputError: `k` is out of range.

    Example:
        >>> import torch
        >>> from graphfew.propagation import auto_cosine_search
        >>> auto_cosine_search(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]), 1)[0].tolist()
        [[2], [2], [1]]
    """
    return exact_cosine_search(x, k) if len(x) <= EXACT_NODES else cell_cosine_search(x, k)


def search_name(search: object, n_nodes: int) -> str:
    """Return the name of the search that is used for a number of nodes, such as `exact_search`."""
    while isinstance(search, functools.partial):
        search = search.func
    is_exact = n_nodes <= EXACT_NODES
    if search is auto_search:
        search = exact_search if is_exact else cell_search
    elif search is auto_cosine_search:
        search = exact_cosine_search if is_exact else cell_cosine_search
    return getattr(search, "__name__", type(search).__name__)


def uses_cosine(search: object) -> bool:
    """Whether a search is one of the library's by cosine."""
    while isinstance(search, functools.partial):
        search = search.func
    return search in (exact_cosine_search, cell_cosine_search, auto_cosine_search)


@torch.no_grad()
def sample_recall(
    x: Float[Tensor, "N F"],
    index: Int[Tensor, "N k"],
    *,
    unit_length: bool = False,
    n_samples: int = RECALL_SAMPLES,
    seed: int = 0,
) -> float:
    """Estimate the recall of a neighbor search by exact searches for a sample of nodes.

    A neighbor counts as exact if it is at most as far as the exact k-th neighbor, so that ties do not
    lower the recall.

    Args:
        x: nodes `[N, F]`.
        index: their neighbors.
        unit_length: whether nodes count with length 1, for searches by cosine.
        n_samples: number of nodes; all if there are no more.
        seed: of the sample.

    Returns:
        The mean share of exact neighbors.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sample_recall
        >>> sample_recall(torch.tensor([[0.0], [1.0], [4.0]]), torch.tensor([[1], [2], [1]]))
        0.6666666865348816
    """
    k = index.shape[1]
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(x), generator=generator)[:n_samples].to(x.device)
    queries = feature_block(x, rows, unit_length=unit_length)
    nearest = nearest_in_blocks(queries, x, k + 1, unit_length=unit_length)
    # Differences instead of inner products, so that near neighbors have exact distances.
    exact = _distances(x, queries, nearest.index, unit_length).masked_fill(
        nearest.index == rows[:, None], -torch.inf
    )
    is_self_found = exact.isneginf().any(1)
    ordered = exact.sort(1).values
    radius = torch.where(is_self_found, ordered[:, k], ordered[:, k - 1])
    found = _distances(x, queries, index[rows], unit_length)
    is_exact = found <= radius[:, None] * (1 + RECALL_TOLERANCE)
    return float(is_exact.float().mean())


def _distances(x: Tensor, queries: Tensor, index: Tensor, unit_length: bool) -> Tensor:
    points = feature_block(x, index.reshape(-1), unit_length=unit_length)
    difference = points.view(*index.shape, -1) - queries[:, None]
    out: Tensor = torch.linalg.vector_norm(difference, dim=2)
    return out
