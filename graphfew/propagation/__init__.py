"""Graphs of any size without episodes: nearest neighbors, affinities, sparse solvers and class priors.

Start reading at `neighbors.knn` and `solvers.spread_labels`.
"""

from graphfew.propagation.affinity import (
    cosine_power,
    self_tuning,
    sparse_cosine_power,
    sparse_self_tuning,
    symmetric_normalize,
)
from graphfew.propagation.neighbors import (
    Neighbors,
    approximate_search,
    exact_cosine_search,
    exact_search,
    knn,
    mutual_graph,
    query_neighbors,
    union_graph,
)
from graphfew.propagation.solvers import (
    conjugate_gradients,
    harmonic_function,
    sparse_matmul,
    spread_labels,
)

__all__ = [
    "Neighbors",
    "approximate_search",
    "conjugate_gradients",
    "cosine_power",
    "exact_cosine_search",
    "exact_search",
    "harmonic_function",
    "knn",
    "mutual_graph",
    "query_neighbors",
    "self_tuning",
    "sparse_cosine_power",
    "sparse_matmul",
    "sparse_self_tuning",
    "spread_labels",
    "symmetric_normalize",
    "union_graph",
]
