"""The members of the ensemble: a linear head, one on diffused features, and label propagation."""

from __future__ import annotations

import dataclasses
import math
import warnings

import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from graphfew.core.episode import UNKNOWN
from graphfew.core.topology import Topology
from graphfew.nn.predictors import LinearPredictor
from graphfew.propagation.diffusion import diffuse_features
from graphfew.propagation.feature_blocks import feature_block
from graphfew.propagation.feature_scaling import FeatureScaling, fit_scaling
from graphfew.propagation.knn_gaussian import sparse_knn_gaussian
from graphfew.propagation.neighbors import Neighbors, Search, knn
from graphfew.propagation.solvers import TINY, harmonic_function

NEIGHBORS = 10
ALPHA = 0.9
# Inverse regularization of the linear heads, on rows whose mean squared length is 1.
INV_REGULARIZATION = 10.0
# Items whose scores are computed at a time.
ROWS_PER_BLOCK = 16_384
MAX_STEPS = 300
# The solution only ranks classes, so it need not be exact.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class MemberScores:
    """Class scores of the members of the ensemble, `[N, C]` each.

    Attributes:
        linear: of a linear head on the features.
        diffused: of a linear head on the diffused features.
        propagated: of label propagation.
    """

    linear: Float[Tensor, "N C"]
    diffused: Float[Tensor, "N C"]
    propagated: Float[Tensor, "N C"]

    def standardize(self, spreads: tuple[float, ...]) -> Float[Tensor, "M N C"]:
        """Center the scores of each item and divide them by the spread of their member."""
        standardized = []
        for scores, spread in zip(self._all(), spreads, strict=True):
            standardized.append(_center(scores) / spread)
        return torch.stack(standardized)

    def _all(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.linear, self.diffused, self.propagated


@dataclasses.dataclass(frozen=True, eq=False)
class MemberGraph:
    """What the members need of the items; it does not depend on labels.

    Attributes:
        scaling: of the features.
        features: `[N, F]` scaled features.
        neighbors: the ten nearest of each item.
        topology: the kNN graph of the items.
        edge_weights: `[E, 1]` of the graph.
        diffused: `[N, F]` features diffused on the graph, not normalized.
    """

    scaling: FeatureScaling
    features: Float[Tensor, "N F"]
    neighbors: Neighbors
    topology: Topology
    edge_weights: Float[Tensor, "E 1"]
    diffused: Float[Tensor, "N F"]


def build_member_graph(x: Float[Tensor, "N F"]) -> MemberGraph:
    """Scale features, find neighbors and diffuse the features.

    Args:
        x: features.

    Returns:
        The graph, which `fit_members` accepts for any labels of the items.
    """
    scaling = fit_scaling(x)
    features = scaling(x)
    neighbors = knn(features, min(NEIGHBORS, len(features) - 1))
    return member_graph_of(scaling, features, neighbors)


def member_graph_of(
    scaling: FeatureScaling, features: Float[Tensor, "N F"], neighbors: Neighbors
) -> MemberGraph:
    """Build the graph of neighbors that are already known.

    Args:
        scaling: of the features.
        features: scaled features.
        neighbors: of each item, at most ten.

    Returns:
        The graph.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.estimators import member_graph_of
        >>> x = torch.tensor([[0.0], [0.1], [0.9], [1.0]])
        >>> scaling = gf.propagation.fit_scaling(x)
        >>> member_graph_of(scaling, scaling(x), gf.propagation.knn(x, 3)).diffused.shape
        torch.Size([4, 1])
    """
    topology, edge_weights = sparse_knn_gaussian(features, NEIGHBORS, search=_reuse(neighbors))
    diffused = diffuse_features(topology, edge_weights, features, ALPHA)
    return MemberGraph(scaling, features, neighbors, topology, edge_weights, diffused)


@dataclasses.dataclass(frozen=True, eq=False)
class FittedMembers:
    """The members, fitted to items of which some are labeled.

    Attributes:
        graph: scaled features and kNN graph of the items.
        linear_head: on scaled features.
        diffused_head: on normalized diffused features.
        propagated: `[N, C]` class scores of label propagation.
        spreads: standard deviation of each member's scores around the mean of the item's classes.
        scores: `[M, N, C]` standardized scores of the members.
    """

    graph: MemberGraph
    linear_head: LinearPredictor
    diffused_head: LinearPredictor
    propagated: Float[Tensor, "N C"]
    spreads: tuple[float, ...]
    scores: Float[Tensor, "M N C"]


def fit_members(
    x: Float[Tensor, "N F"],
    labels: Int[Tensor, " N"],
    n_classes: int,
    graph: MemberGraph | None = None,
) -> FittedMembers:
    """Fit the members of the ensemble.

    Args:
        x: features.
        labels: class indices, -1 if unlabeled. Every class has a label.
        n_classes: number of classes C.
        graph: of the features, if it is already known.

    Returns:
        The members and their scores.

    Example:
        >>> import torch
        >>> from graphfew.estimators import fit_members
        >>> x = torch.tensor([[0.0], [0.1], [0.9], [1.0]])
        >>> fit_members(x, torch.tensor([0, -1, -1, 1]), 2).scores.shape
        torch.Size([3, 4, 2])
    """
    graph = build_member_graph(x) if graph is None else graph
    features = graph.features
    labeled = torch.nonzero(labels != UNKNOWN).flatten()
    linear_head = fit_head(feature_block(features, labeled), labels[labeled], n_classes)
    diffused_head = fit_head(unit_diffused(graph, labeled), labels[labeled], n_classes)
    propagated = propagate_labels(graph.topology, graph.edge_weights, labels, n_classes)
    spreads, scores = _standardized_scores(graph, linear_head, diffused_head, propagated)
    return FittedMembers(graph, linear_head, diffused_head, propagated, spreads, scores)


def unit_diffused(graph: MemberGraph, rows: slice | Int[Tensor, " n"]) -> Float[Tensor, "n F"]:
    """Return the diffused features of some items, normalized as the scaling does.

    Args:
        graph: of the items.
        rows: the items.

    Returns:
        `[n, F]`.
    """
    return graph.scaling.normalize(feature_block(graph.diffused, rows))


def _standardized_scores(
    graph: MemberGraph,
    linear_head: LinearPredictor,
    diffused_head: LinearPredictor,
    propagated: Tensor,
) -> tuple[tuple[float, ...], Float[Tensor, "M N C"]]:
    """The spreads and the standardized scores, without further arrays of all items and classes."""
    scores = propagated.new_empty(3, *propagated.shape)
    squares = torch.zeros(3, dtype=torch.float64)
    for start in range(0, len(propagated), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        linear = linear_head(feature_block(graph.features, rows))
        diffused = diffused_head(unit_diffused(graph, rows))
        for member, values in enumerate((linear, diffused, propagated[rows])):
            scores[member, rows] = _center(values)
            squares[member] += scores[member, rows].square().sum(dtype=torch.float64)
    spreads = tuple(max(math.sqrt(s / propagated.numel()), TINY) for s in squares.tolist())
    for member, spread in zip(scores, spreads, strict=True):
        member.div_(spread)
    return spreads, scores


def fit_head(x: Float[Tensor, "L F"], labels: Int[Tensor, " L"], n_classes: int) -> LinearPredictor:
    """Fit a logistic regression to labeled items.

    Args:
        x: features.
        labels: class indices; every class occurs.
        n_classes: number of classes C.

    Returns:
        A linear predictor of C class scores.
    """
    # Balanced: the number of labels of a class depends on who labeled, not on the class's size.
    head = LogisticRegression(C=INV_REGULARIZATION, max_iter=MAX_STEPS, class_weight="balanced")
    with warnings.catch_warnings():
        # The objective is strictly convex; after 300 steps, what is left does not change a class.
        # With one label per class, scikit-learn suspects a regression problem.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes")
        head.fit(x.numpy(), labels.numpy())
    weight = torch.from_numpy(head.coef_).to(x.dtype)
    bias = torch.from_numpy(head.intercept_).to(x.dtype)
    if n_classes == 2:
        # scikit-learn has one score for two classes: the second minus the first.
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return LinearPredictor(weight, bias)


def propagate_labels(
    topology: Topology, weights: Float[Tensor, "E 1"], labels: Int[Tensor, " N"], n_classes: int
) -> Float[Tensor, "N C"]:
    """Propagate labels over a graph; a class with more labels is not favored.

    Args:
        topology: a symmetric graph.
        weights: of its edges.
        labels: class indices, -1 if unlabeled; every class occurs.
        n_classes: number of classes C.

    Returns:
        Class scores `[N, C]`.
    """
    label = torch.zeros(len(labels), n_classes, dtype=weights.dtype)
    labeled = torch.nonzero(labels != UNKNOWN).flatten()
    label[labeled, labels[labeled]] = 1
    scores = harmonic_function(topology, weights, label, tolerance=TOLERANCE)
    counts = label.sum(0)
    return scores * (counts.mean() / counts)


def _reuse(neighbors: Neighbors) -> Search:
    """A search that returns neighbors which are already known."""
    return lambda x, k: (neighbors.index, neighbors.distance)


def _center(scores: Tensor) -> Tensor:
    return scores - scores.mean(1, keepdim=True)
