"""The smallest eigenvalues of a graph's normalized Laplacian, and their eigenvectors."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import eigsh
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.propagation.solvers import root_degrees

# With at most this many items, all eigenvectors are computed.
DENSE_ITEMS = 400
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class GraphSpectrum:
    """Eigenvalues and eigenvectors of `I - D^-½ W D^-½`.

    Attributes:
        values: `[r]`, ascending.
        vectors: `[N, r]`, of length 1.
    """

    values: Float[Tensor, " r"]
    vectors: Float[Tensor, "N r"]


def smallest_eigenvectors(
    topology: Topology, weights: Float[Tensor, "E 1"], rank: int
) -> GraphSpectrum:
    """Compute the smallest eigenvalues and eigenvectors of the normalized Laplacian.

    Args:
        topology: an undirected graph.
        weights: of its edges, symmetric.
        rank: number of eigenvectors; all if there are fewer nodes.

    Returns:
        The eigenvalues and eigenvectors in float64; the signs of eigenvectors are arbitrary.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sparse_knn_gaussian
        >>> graph = sparse_knn_gaussian(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), k=1)
        >>> smallest_eigenvectors(*graph, 3).values.round(decimals=3) + 0  # two components
        tensor([0., 0., 2.], dtype=torch.float64)

    Source:
        Lehoucq, Sorensen, Yang, 1998, ARPACK Users' Guide.

    Deviations:
        none.
    """
    n_items = topology.num_nodes
    rank = min(rank, n_items)
    scale = root_degrees(topology, weights).reciprocal()
    normalized = weights * scale[topology.receivers] * scale[topology.senders]
    entries = normalized[:, 0].double().numpy()
    places = (topology.receivers.numpy(), topology.senders.numpy())
    similarity = sparse.csr_matrix((entries, places), shape=(n_items, n_items))
    if n_items <= max(DENSE_ITEMS, 2 * rank):
        values, vectors = np.linalg.eigh(similarity.toarray())
        values, vectors = values[-rank:], vectors[:, -rank:]
    else:
        # ARPACK's own start is random.
        start = np.random.default_rng(0).normal(size=n_items)
        values, vectors = eigsh(similarity, rank, which="LA", v0=start, tol=TOLERANCE)
    order = np.argsort(-values)
    eigenvalues = torch.from_numpy(1 - values[order]).clamp_min(0)
    return GraphSpectrum(eigenvalues, torch.from_numpy(np.ascontiguousarray(vectors[:, order])))
