"""An ensemble of a linear head, a linear head on diffused features, and label propagation."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from graphfew.core.episode import UNKNOWN
from graphfew.core.topology import Topology
from graphfew.estimators.auto.calibration import (
    MIN_ITEMS,
    agreement_features,
    fit_inv_temperature,
    predict_accuracy,
)
from graphfew.estimators.auto.thresholds import likely_members, refusal_threshold
from graphfew.estimators.auto.weights import EnsembleWeights
from graphfew.nn.predictors import LinearPredictor
from graphfew.propagation.diffusion import diffuse_features
from graphfew.propagation.feature_scaling import FeatureScaling, fit_scaling
from graphfew.propagation.knn_gaussian import DECAY, sparse_knn_gaussian
from graphfew.propagation.neighbors import Neighbors, Search, knn, query_neighbors
from graphfew.propagation.prior_estimation import estimate_prior, match_prior
from graphfew.propagation.solvers import TINY, harmonic_function

NEIGHBORS = 10
ALPHA = 0.9
# Inverse regularization of the linear heads, on rows whose mean squared length is 1.
INV_REGULARIZATION = 10.0
MAX_STEPS = 300
# Weights of the members' standardized scores, in the order of `MemberScores`.
MEMBER_WEIGHTS = (1.0, 2.0, 1.0)
# The solution only ranks classes, so it need not be exact.
TOLERANCE = 1e-4
# Items with a smaller squared distance, in units of rounding, are the same.
SAME_ROUNDINGS = 64


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

    def select(self, rows: Tensor) -> MemberScores:
        """Select the scores of some items."""
        return MemberScores(self.linear[rows], self.diffused[rows], self.propagated[rows])

    def predictions(self) -> Int[Tensor, "M N"]:
        """The class of every item by each member."""
        return torch.stack([scores.argmax(1) for scores in self._all()])

    def spreads(self) -> tuple[float, ...]:
        """The standard deviation of each member's scores around the mean of the item's classes."""
        spreads = [float(_center(scores).square().mean().sqrt()) for scores in self._all()]
        return tuple(max(spread, TINY) for spread in spreads)

    def combine(self, spreads: Sequence[float]) -> Float[Tensor, "N C"]:
        """Add the standardized scores, weighted by `MEMBER_WEIGHTS`."""
        total = torch.zeros_like(self.linear)
        for scores, spread, weight in zip(self._all(), spreads, MEMBER_WEIGHTS, strict=True):
            total += _center(scores) * (weight / spread)
        return total

    def _all(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.linear, self.diffused, self.propagated


@dataclasses.dataclass(frozen=True, eq=False)
class _NearestItems:
    """The fitted items nearest to each query, their weights, and their mean squared distance."""

    index: Int[Tensor, "Q k"]
    weights: Float[Tensor, "Q k"]
    squared_distance: Float[Tensor, " Q"]
    is_fitted: Bool[Tensor, " Q"]


def _nearest_items(index: Tensor, distance: Tensor, is_fitted: Tensor) -> _NearestItems:
    # The weights of the graph of the fit. All neighbors at distance 0 have the same weight.
    width = distance[:, -1:].clamp_min(TINY)
    weights = (-DECAY * (distance / width).square()).softmax(1)
    return _NearestItems(index, weights, distance.square().mean(1), is_fitted)


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """A fitted ensemble. It predicts each item from its nearest fitted items.

    Formula:
        logits = τ (Σ_m w_m s_m + b),  s_m the standardized scores of member m

    Attributes:
        scaling: of the features.
        features: `[N, F]` scaled features of the fitted items.
        diffused: `[N, F]` these features diffused on their kNN graph.
        propagated: `[N, C]` class scores of label propagation.
        radius: `[N]` mean squared distance of each fitted item to its neighbors.
        linear_head: on scaled features.
        diffused_head: on diffused features.
        spreads: of the members' scores on the fitted items.
        bias: b, `[C]`, so that the unlabeled items have the estimated class prior.
        inv_temperature: τ, so that the mean confidence is the predicted accuracy.
        label_means: `[C, F]` mean diffused feature of each class's labeled items.
        threshold: similarity that about 95 % of the class members reach.
        similarity_offset: of items that were not fitted.
    """

    scaling: FeatureScaling
    features: Float[Tensor, "N F"]
    diffused: Float[Tensor, "N F"]
    propagated: Float[Tensor, "N C"]
    radius: Float[Tensor, " N"]
    linear_head: LinearPredictor
    diffused_head: LinearPredictor
    spreads: tuple[float, ...]
    bias: Float[Tensor, " C"]
    inv_temperature: float
    label_means: Float[Tensor, "C F"]
    threshold: float = 0.0
    similarity_offset: float = 0.0

    def logits(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q C"]:
        """Predict other items, each alone.

        Args:
            x: `[Q, F]` unscaled features.

        Returns:
            `[Q, C]`; their softmax is the prediction.
        """
        scaled = self.scaling(x)
        neighbors = self._neighbors(scaled)
        diffused = self._diffuse(scaled, neighbors, ALPHA)
        neighbor_scores = self.propagated[neighbors.index]
        propagated = torch.einsum("qk,qkc->qc", neighbors.weights, neighbor_scores)
        scores = MemberScores(self.linear_head(scaled), self.diffused_head(diffused), propagated)
        return self.inv_temperature * (scores.combine(self.spreads) + self.bias)

    def similarity(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q C"]:
        """Compute how close items are to the labeled items of each class, to detect OOD items.

        Formula:
            1 - ‖z - m_c‖² / 2,  m_c a row of `label_means`
            z = α g n + (1 - α g) x,  n the mean diffused feature of the nearest fitted items
            g = min(1, r / d)²,  d the mean squared distance of the item to these items, and r that
            of these items to their own neighbors

        An item far from all fitted items keeps its own feature: the mean of its neighbors would
        look like a member of their class. `similarity_offset` is added for items that were not
        fitted, so that the similarities of both kinds are comparable. A fitted item has the
        similarity of the fit.

        Args:
            x: `[Q, F]` unscaled features.

        Returns:
            `[Q, C]`.
        """
        scaled = self.scaling(x)
        neighbors = self._neighbors(scaled)
        new = self._new_similarity(scaled, neighbors) + self.similarity_offset
        own_diffused = self.scaling.normalize(self.diffused[neighbors.index[:, 0]])
        settled = similarity_to(own_diffused, self.label_means)
        return torch.where(neighbors.is_fitted[:, None], settled, new)

    def _new_similarity(self, scaled: Tensor, neighbors: _NearestItems) -> Float[Tensor, "Q C"]:
        radius = self.radius[neighbors.index].mean(1)
        gate = (radius / neighbors.squared_distance.clamp_min(TINY)).clamp_max(1).square()
        diffused = self._diffuse(scaled, neighbors, ALPHA * gate[:, None])
        return similarity_to(diffused, self.label_means)

    def similarity_as_new(
        self, neighbors: Neighbors, rows: Int[Tensor, " M"]
    ) -> Float[Tensor, "M C"]:
        """Compute the similarity of fitted items as if they were new, without an offset.

        Args:
            neighbors: of all fitted items.
            rows: the items.

        Returns:
            `[M, C]`.
        """
        is_fitted = torch.zeros(len(rows), dtype=torch.bool)
        nearest = _nearest_items(neighbors.index[rows], neighbors.distance[rows], is_fitted)
        return self._new_similarity(self.features[rows], nearest)

    def _neighbors(self, scaled: Tensor) -> _NearestItems:
        n_neighbors = min(NEIGHBORS, len(self.features))
        index, distance = query_neighbors(scaled, self.features, n_neighbors)
        # Squared distances are differences of squared lengths, which are 1 on average.
        rounding = SAME_ROUNDINGS * torch.finfo(scaled.dtype).eps
        return _nearest_items(index, distance, distance[:, 0].square() <= rounding)

    def _diffuse(
        self, scaled: Tensor, neighbors: _NearestItems, alpha: float | Tensor
    ) -> Float[Tensor, "Q F"]:
        mean = torch.einsum("qk,qkf->qf", neighbors.weights, self.diffused[neighbors.index])
        return self.scaling.normalize(alpha * mean + (1 - alpha) * scaled)


@dataclasses.dataclass(frozen=True, eq=False)
class EnsembleFit:
    """A fitted ensemble with its results on the items of the fit.

    Attributes:
        ensemble: predicts other items.
        logits: `[N, C]` of all items, including labeled ones.
        similarity: `[N, C]` of all items, see `Ensemble.similarity`.
        predictions: `[M, U]` class of each unlabeled item by each member.
    """

    ensemble: Ensemble
    logits: Float[Tensor, "N C"]
    similarity: Float[Tensor, "N C"]
    predictions: Int[Tensor, "M U"]


@torch.no_grad()
def fit_ensemble(
    x: Float[Tensor, "N F"], labels: Int[Tensor, " N"], n_classes: int, weights: EnsembleWeights
) -> EnsembleFit:
    """Fit an ensemble to items, some of which are labeled.

    The members are a logistic regression on scaled features (labels only), a logistic regression on
    features diffused over the kNN graph of all items, and label propagation on that graph. Their
    scores are standardized and added. Class biases give the unlabeled items a class prior that is
    estimated from the members' predictions.

    Args:
        x: `[N, F]` features.
        labels: `[N]` class indices, -1 if unlabeled. Every class has a label.
        n_classes: number of classes.
        weights: fitted on other data sets.

    Returns:
        The ensemble, and its results on the items.

    Example:
        >>> import torch
        >>> from graphfew.estimators.auto.ensemble import fit_ensemble
        >>> from graphfew.estimators.auto.weights import default_weights
        >>> x = torch.tensor([[0.0], [0.1], [0.9], [1.0]])
        >>> fit = fit_ensemble(x, torch.tensor([0, -1, -1, 1]), 2, default_weights())
        >>> fit.logits.argmax(1).tolist()
        [0, 0, 1, 1]

    Source:
        Zhu, Ghahramani, Lafferty, 2003, Semi-Supervised Learning Using Gaussian Fields and Harmonic
        Functions (label propagation); Wu, Souza, Zhang, Fifty, Yu, Weinberger, 2019, Simplifying
        Graph Convolutional Networks (a linear head on diffused features). The combination and the
        estimate of the prior are this library's own.

    Deviations:
        none.
    """
    scaling = fit_scaling(x)
    features = scaling(x)
    neighbors = knn(features, min(NEIGHBORS, len(features) - 1))
    topology, edge_weights = sparse_knn_gaussian(features, NEIGHBORS, search=reuse(neighbors))
    diffused = diffuse_features(topology, edge_weights, features, ALPHA)
    unit_diffused = scaling.normalize(diffused)
    is_labeled = labels != UNKNOWN
    linear_head = _fit_head(features[is_labeled], labels[is_labeled], n_classes)
    diffused_head = _fit_head(unit_diffused[is_labeled], labels[is_labeled], n_classes)
    propagated = _propagate(topology, edge_weights, labels, n_classes)
    scores = MemberScores(linear_head(features), diffused_head(unit_diffused), propagated)
    spreads = scores.spreads()
    combined = scores.combine(spreads)

    shots = int(is_labeled.sum()) / n_classes
    unlabeled = torch.nonzero(~is_labeled).flatten()
    predictions = scores.select(unlabeled).predictions()
    bias, inv_temperature = _settle_prior(
        combined[unlabeled], predictions, n_classes, shots, weights
    )
    label_means = _label_means(unit_diffused[is_labeled], labels[is_labeled], n_classes)
    ensemble = Ensemble(
        scaling,
        features,
        diffused,
        propagated,
        neighbors.distance.square().mean(1),
        linear_head,
        diffused_head,
        spreads,
        bias,
        inv_temperature,
        label_means,
    )
    final = (combined + bias).argmax(1)
    similarity = similarity_to(unit_diffused, label_means)
    members = likely_members(labels, predictions, final)
    threshold = refusal_threshold(similarity, final, members)
    as_new = ensemble.similarity_as_new(neighbors, members)
    offset = threshold - refusal_threshold(as_new, final[members], torch.arange(len(members)))
    ensemble = dataclasses.replace(ensemble, threshold=threshold, similarity_offset=offset)
    logits = inv_temperature * (combined + bias)
    return EnsembleFit(ensemble, logits, similarity, predictions)


def reuse(neighbors: Neighbors) -> Search:
    """Return a search that returns neighbors which are already known."""
    return lambda x, k: (neighbors.index, neighbors.distance)


def similarity_to(x: Float[Tensor, "N F"], means: Float[Tensor, "C F"]) -> Float[Tensor, "N C"]:
    """Compute `1 - ‖x - m‖² / 2` for all pairs of rows."""
    squared = x.square().sum(1, keepdim=True) - 2 * x @ means.T + means.square().sum(1)
    return 1 - squared / 2


def _settle_prior(
    combined: Tensor, predictions: Tensor, n_classes: int, shots: float, weights: EnsembleWeights
) -> tuple[Tensor, float]:
    """Class biases for the estimated prior of the unlabeled items, and the inverse temperature."""
    if len(combined) == 0:
        return torch.zeros(n_classes, dtype=combined.dtype), 1.0
    prior = estimate_prior(predictions, n_classes, shots, weights.prior)
    bias = match_prior(combined, prior)
    if len(combined) < MIN_ITEMS:
        return bias, 1.0
    final = (combined + bias).argmax(1)
    agreement = agreement_features(predictions, final, prior, shots)
    accuracy = predict_accuracy(agreement, weights.accuracy, n_classes)
    return bias, fit_inv_temperature(combined + bias, accuracy)


def _fit_head(x: Tensor, labels: Tensor, n_classes: int) -> LinearPredictor:
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


def _propagate(topology: Topology, weights: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    label = torch.zeros(len(labels), n_classes, dtype=weights.dtype)
    labeled = torch.nonzero(labels != UNKNOWN).flatten()
    label[labeled, labels[labeled]] = 1
    scores = harmonic_function(topology, weights, label, tolerance=TOLERANCE)
    # Balanced, as the heads: a class with more labels is not favored.
    counts = label.sum(0)
    return scores * (counts.mean() / counts)


def _label_means(x: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    sums = torch.zeros(n_classes, x.shape[1], dtype=x.dtype).index_add_(0, labels, x)
    return sums / torch.bincount(labels, minlength=n_classes)[:, None]


def _center(scores: Tensor) -> Tensor:
    return scores - scores.mean(1, keepdim=True)
