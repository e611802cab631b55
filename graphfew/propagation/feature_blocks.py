"""Rows of features that are too many to convert at once, and checks of neighbor searches."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.errors import InvalidInputError

ROWS_PER_CHECK = 65_536


def is_narrow(x: Tensor) -> bool:
    """Whether features have 16 bits, and must be converted for computations."""
    return x.element_size() <= 2


def compute_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of computations on features: float32 for those of 16 bits."""
    return torch.float32 if is_narrow(x) else x.dtype


def feature_block(
    x: Float[Tensor, "N F"], rows: slice | Int[Tensor, " n"], *, unit_length: bool = False
) -> Float[Tensor, "n F"]:
    """Return some rows in `compute_dtype`, optionally scaled to length 1."""
    block = x[rows].to(compute_dtype(x))
    return F.normalize(block, dim=1) if unit_length else block


def check_finite(x: Float[Tensor, "N F"]) -> None:
    """Raise InvalidInputError if a node has a value that is not finite."""
    for start in range(0, len(x), ROWS_PER_CHECK):
        is_finite = torch.isfinite(x[start : start + ROWS_PER_CHECK]).all(1)
        if not bool(is_finite.all()):
            node = start + int(torch.nonzero(~is_finite)[0])
            raise InvalidInputError(
                f"node {node} has a value that is NaN or infinite; remove it, or replace the value"
            )


def check_lengths(x: Float[Tensor, "N F"]) -> None:
    """Raise InvalidInputError if a node has length 0, and so no cosine to others."""
    for start in range(0, len(x), ROWS_PER_CHECK):
        has_length = x[start : start + ROWS_PER_CHECK].any(1)
        if not bool(has_length.all()):
            node = start + int(torch.nonzero(~has_length)[0])
            raise InvalidInputError(
                f"node {node} has only zeros, and so no cosine to others; remove it, or search by "
                "Euclidean distance"
            )


def check_k(k: int, n_nodes: int) -> None:
    """Raise InvalidInputError if nodes do not have `k` neighbors."""
    if not 1 <= k < n_nodes:
        raise InvalidInputError(
            f"k is {k} and there are {n_nodes} nodes, so each node has {n_nodes - 1} others; give "
            f"a k from 1 to {n_nodes - 1}"
        )


def drop_self(
    index: Int[Tensor, "N k1"], distance: Float[Tensor, "N k1"]
) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Drop the node itself from its `k + 1` neighbors, or the last one if it is not among them.

    With duplicates of a node, `k + 1` others can be as near as the node itself.

    Args:
        index: nearest first.
        distance: to these neighbors.

    Returns:
        Indices and distances without the node.
    """
    n_nodes = len(index)
    is_dropped = index == torch.arange(n_nodes, device=index.device)[:, None]
    is_dropped[:, -1] |= ~is_dropped.any(1)
    return index[~is_dropped].view(n_nodes, -1), distance[~is_dropped].view(n_nodes, -1)
