"""An ensemble of a linear head, a linear head on diffused features, and label propagation."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graphfew.core.episode import UNKNOWN
from graphfew.estimators.auto.calibration import (
    MIN_ITEMS,
    agreement_features,
    fit_inv_temperature,
    predict_accuracy,
)
from graphfew.estimators.auto.members import (
    ALPHA,
    NEIGHBORS,
    MemberGraph,
    MemberScores,
    fit_members,
    unit_diffused,
)
from graphfew.estimators.auto.mixture import (
    CandidateMixture,
    CutShare,
    cut_share_of,
    fit_mixture,
    sum_of_members,
)
from graphfew.estimators.auto.thresholds import likely_members, refusal_threshold
from graphfew.estimators.auto.weights import EnsembleWeights
from graphfew.nn.predictors import LinearPredictor
from graphfew.propagation.cell_index import CellIndex, build_cells
from graphfew.propagation.exact_neighbors import query_neighbors
from graphfew.propagation.feature_blocks import feature_block
from graphfew.propagation.feature_scaling import FeatureScaling
from graphfew.propagation.knn_gaussian import DECAY
from graphfew.propagation.neighbors import Neighbors
from graphfew.propagation.prior_estimation import estimate_prior
from graphfew.propagation.search_choice import EXACT_NODES
from graphfew.propagation.solvers import TINY

# Items with a smaller squared distance, in units of rounding, are the same.
SAME_ROUNDINGS = 64
# Items whose neighbors' features are gathered at once.
ROWS_PER_CHUNK = 4096
# In sets with more probabilities (items times classes), labeled items count among the unlabeled ones
# if they are few, because the unlabeled ones alone would be a copy.
MAX_COPIED = 2**25
FEW_LABELED = 0.01


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
        logits = τ log p,  p the mixture of the candidates' probabilities

    Attributes:
        scaling: of the features.
        features: `[N, F]` scaled features of the fitted items.
        diffused: `[N, F]` these features diffused on their kNN graph.
        propagated: `[N, C]` class scores of label propagation.
        radius: `[N]` mean squared distance of each fitted item to its neighbors.
        linear_head: on scaled features.
        diffused_head: on diffused features.
        spreads: of the members' scores on the fitted items.
        mixture: of the candidates, from the members' standardized scores.
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
    mixture: CandidateMixture
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
        log_probs = self.mixture.log_probs(scores.standardize(self.spreads))
        return self.inv_temperature * log_probs

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
        nearest = feature_block(self.diffused, neighbors.index[:, 0])
        own_diffused = self.scaling.normalize(nearest)
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
        similarity = []
        for block in torch.split(rows, ROWS_PER_CHUNK):
            is_fitted = torch.zeros(len(block), dtype=torch.bool)
            nearest = _nearest_items(neighbors.index[block], neighbors.distance[block], is_fitted)
            similarity.append(self._new_similarity(feature_block(self.features, block), nearest))
        return torch.cat(similarity)

    def _neighbors(self, scaled: Tensor) -> _NearestItems:
        n_neighbors = min(NEIGHBORS, len(self.features))
        if len(self.features) > EXACT_NODES:
            index, distance = self._cells.search(scaled, n_neighbors)
        else:
            index, distance = query_neighbors(scaled, self.features, n_neighbors)
        # Squared distances are differences of squared lengths, which are 1 on average.
        rounding = SAME_ROUNDINGS * torch.finfo(self.features.dtype).eps
        return _nearest_items(index, distance, distance[:, 0].square() <= rounding)

    @cached_property
    def _cells(self) -> CellIndex:
        """The fitted items in cells, for approximate searches."""
        return build_cells(self.features)

    def _diffuse(
        self, scaled: Tensor, neighbors: _NearestItems, alpha: float | Tensor
    ) -> Float[Tensor, "Q F"]:
        mean = torch.empty_like(scaled)
        # All neighbors of all items at once would be k times the memory of the features.
        for start in range(0, len(scaled), ROWS_PER_CHUNK):
            rows = slice(start, start + ROWS_PER_CHUNK)
            gathered = self.diffused[neighbors.index[rows]].to(scaled.dtype)
            mean[rows] = torch.einsum("qk,qkf->qf", neighbors.weights[rows], gathered)
        return self.scaling.normalize(alpha * mean + (1 - alpha) * scaled)


@dataclasses.dataclass(frozen=True, eq=False)
class EnsembleFit:
    """A fitted ensemble with its results on the items of the fit.

    Attributes:
        ensemble: predicts other items.
        logits: `[N, C]` of all items, including labeled ones.
        similarity: `[N, C]` of all items, see `Ensemble.similarity`.
        predictions: `[M, U]` class of each unlabeled item by each member.
        search: name of the search for neighbors.
    """

    ensemble: Ensemble
    logits: Float[Tensor, "N C"]
    similarity: Float[Tensor, "N C"]
    predictions: Int[Tensor, "M U"]
    search: str


@torch.no_grad()
def fit_ensemble(
    x: Float[Tensor, "N F"],
    labels: Int[Tensor, " N"],
    n_classes: int,
    weights: EnsembleWeights,
    graph: MemberGraph | None = None,
) -> EnsembleFit:
    """Fit an ensemble to items, some of which are labeled.

    The members are a logistic regression on scaled features (labels only), a logistic regression on
    features diffused over the kNN graph of all items, and label propagation on that graph. Their
    standardized scores are added, with class biases for several priors around the one that is
    estimated from their predictions. These candidates, and each member alone, are mixed; a
    candidate's weight depends on how few edges of the graph it cuts and how far it agrees with the
    members.

    Args:
        x: `[N, F]` features.
        labels: `[N]` class indices, -1 if unlabeled. Every class has a label.
        n_classes: number of classes.
        weights: fitted on other data sets.
        graph: of the items, if it is already known (see `build_member_graph`).

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
    members = fit_members(x, labels, n_classes, graph)
    graph = members.graph
    is_labeled = labels != UNKNOWN
    labeled = torch.nonzero(is_labeled).flatten()
    shots = len(labeled) / n_classes
    is_counted = _counted_items(is_labeled, n_classes)
    unlabeled = members.scores if is_counted.all() else members.scores[:, is_counted]
    predictions = torch.stack([_argmax_rows(scores) for scores in unlabeled])
    counted_labels = labels.masked_fill(is_counted, UNKNOWN)
    cut_share = cut_share_of(graph.topology, graph.edge_weights, counted_labels)
    mixture = _mix(unlabeled, predictions, cut_share, shots, weights)
    log_probs = mixture.log_probs(members.scores)
    counted_probs = log_probs if is_counted.all() else log_probs[is_counted]
    inv_temperature = _calibrate(mixture, unlabeled, predictions, counted_probs, shots, weights)
    predictions = predictions[:, ~is_labeled[is_counted]]
    del unlabeled, counted_probs

    label_means = _label_means(unit_diffused(graph, labeled), labels[labeled], n_classes)
    ensemble = Ensemble(
        graph.scaling,
        graph.features,
        graph.diffused,
        members.propagated,
        graph.neighbors.distance.square().mean(1),
        members.linear_head,
        members.diffused_head,
        members.spreads,
        mixture,
        inv_temperature,
        label_means,
    )
    # The scores of all members are the largest arrays; they are not needed any more.
    del members
    similarity = torch.cat(
        [
            similarity_to(unit_diffused(graph, slice(i, i + ROWS_PER_CHUNK)), label_means)
            for i in range(0, len(labels), ROWS_PER_CHUNK)
        ]
    )
    final = log_probs.argmax(1)
    ensemble = _set_threshold(ensemble, graph.neighbors, labels, predictions, final, similarity)
    return EnsembleFit(
        ensemble, log_probs.mul_(inv_temperature), similarity, predictions, graph.neighbors.search
    )


def _counted_items(is_labeled: Tensor, n_classes: int) -> Bool[Tensor, " N"]:
    """The items that count as unlabeled."""
    n_items, n_labeled = len(is_labeled), int(is_labeled.sum())
    if n_items * n_classes > MAX_COPIED and n_labeled <= FEW_LABELED * n_items:
        return torch.ones_like(is_labeled)
    return ~is_labeled


def _argmax_rows(scores: Float[Tensor, "N C"]) -> Int[Tensor, " N"]:
    return torch.cat([block.argmax(1) for block in torch.split(scores, ROWS_PER_CHUNK)])


def _set_threshold(
    ensemble: Ensemble,
    neighbors: Neighbors,
    labels: Tensor,
    predictions: Tensor,
    final: Tensor,
    similarity: Tensor,
) -> Ensemble:
    """Set the similarity below which an item is unknown, and the offset of new items."""
    members = likely_members(labels, predictions, final)
    threshold = refusal_threshold(similarity, final, members)
    sample = members[:: max(1, len(members) * similarity.shape[1] // MAX_COPIED)]
    as_new = ensemble.similarity_as_new(neighbors, sample)
    offset = threshold - refusal_threshold(as_new, final[sample], torch.arange(len(sample)))
    return dataclasses.replace(ensemble, threshold=threshold, similarity_offset=offset)


def similarity_to(x: Float[Tensor, "N F"], means: Float[Tensor, "C F"]) -> Float[Tensor, "N C"]:
    """Compute `1 - ‖x - m‖² / 2` for all pairs of rows."""
    squared = x.square().sum(1, keepdim=True) - 2 * x @ means.T + means.square().sum(1)
    return 1 - squared / 2


def _mix(
    scores: Float[Tensor, "M U C"],
    predictions: Int[Tensor, "M U"],
    cut_share: CutShare,
    shots: float,
    weights: EnsembleWeights,
) -> CandidateMixture:
    """Mix the candidates for the unlabeled items."""
    n_items, n_classes = scores.shape[1:]
    if n_items == 0:
        return sum_of_members(scores)
    prior = estimate_prior(predictions, n_classes, shots, weights.prior)
    return fit_mixture(scores, prior, cut_share, weights.mixture)


def _calibrate(
    mixture: CandidateMixture,
    scores: Float[Tensor, "M U C"],
    predictions: Int[Tensor, "M U"],
    log_probs: Float[Tensor, "U C"],
    shots: float,
    weights: EnsembleWeights,
) -> float:
    """Find the inverse temperature with which the mean confidence is the predicted accuracy."""
    n_items, n_classes = log_probs.shape
    if n_items < MIN_ITEMS:
        return 1.0
    agreement = mixture.agreement(scores, log_probs.argmax(1))
    features = agreement_features(predictions, log_probs, agreement, shots)
    accuracy = predict_accuracy(features, weights.accuracy, n_classes)
    return fit_inv_temperature(log_probs, accuracy)


def _label_means(x: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    sums = torch.zeros(n_classes, x.shape[1], dtype=x.dtype).index_add_(0, labels, x)
    return sums / torch.bincount(labels, minlength=n_classes)[:, None]
