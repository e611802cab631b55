"""Graphs of any size without episodes: nearest neighbors, affinities, sparse solvers, class priors.

Start reading at `neighbors.knn`, `solvers.spread_labels` and `poisson_equation.poisson_learning`.
"""

from graphfew.propagation.affinity import (
    cosine_power,
    knn_mask,
    self_tuning,
    sparse_cosine_power,
    sparse_self_tuning,
    squared_distances,
    symmetric_normalize,
)
from graphfew.propagation.cell_index import (
    CellIndex,
    build_cells,
    cell_cosine_search,
    cell_search,
)
from graphfew.propagation.class_priors import class_prior, estimate_proportions, sinkhorn
from graphfew.propagation.components import component_sums, connected_components
from graphfew.propagation.diffusion import diffuse_features
from graphfew.propagation.exact_neighbors import (
    exact_cosine_search,
    exact_search,
    query_neighbors,
)
from graphfew.propagation.feature_scaling import FeatureScaling, fit_scaling
from graphfew.propagation.feature_transforms import (
    adaptive_power_normalize,
    power_normalize,
    project_to_principal_axes,
)
from graphfew.propagation.knn_gaussian import knn_gaussian, sparse_knn_gaussian
from graphfew.propagation.neighbors import Neighbors, approximate_search, knn
from graphfew.propagation.pairwise_affinities import balanced_pairwise_affinities
from graphfew.propagation.poisson_equation import poisson_learning, poisson_scores
from graphfew.propagation.prior_estimation import estimate_prior, match_prior, prior_features
from graphfew.propagation.reweighting import reweight_nonlocal, reweight_poisson
from graphfew.propagation.search_choice import (
    auto_cosine_search,
    auto_search,
    sample_recall,
)
from graphfew.propagation.solvers import (
    conjugate_gradients,
    dense_propagation,
    dense_propagation_matrix,
    harmonic_function,
    sparse_matmul,
    spread_labels,
)
from graphfew.propagation.threshold_dynamics import threshold_dynamics
from graphfew.propagation.undirected_graph import mutual_graph, union_graph
from graphfew.propagation.volume_constraint import volume_weights

__all__ = [
    "CellIndex",
    "FeatureScaling",
    "Neighbors",
    "adaptive_power_normalize",
    "approximate_search",
    "auto_cosine_search",
    "auto_search",
    "balanced_pairwise_affinities",
    "build_cells",
    "cell_cosine_search",
    "cell_search",
    "class_prior",
    "component_sums",
    "conjugate_gradients",
    "connected_components",
    "cosine_power",
    "dense_propagation",
    "dense_propagation_matrix",
    "diffuse_features",
    "estimate_prior",
    "estimate_proportions",
    "exact_cosine_search",
    "exact_search",
    "fit_scaling",
    "harmonic_function",
    "knn",
    "knn_gaussian",
    "knn_mask",
    "match_prior",
    "mutual_graph",
    "poisson_learning",
    "poisson_scores",
    "power_normalize",
    "prior_features",
    "project_to_principal_axes",
    "query_neighbors",
    "reweight_nonlocal",
    "reweight_poisson",
    "sample_recall",
    "self_tuning",
    "sinkhorn",
    "sparse_cosine_power",
    "sparse_knn_gaussian",
    "sparse_matmul",
    "sparse_self_tuning",
    "spread_labels",
    "squared_distances",
    "symmetric_normalize",
    "threshold_dynamics",
    "union_graph",
    "volume_weights",
]
