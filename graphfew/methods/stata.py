"""StatA: a Gaussian per class, held near its supports by a divergence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import (
    DenseBatch,
    class_softmax,
    scale_sharpness,
    update_classes_and_queries,
)
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import support_centered_class_mean_graph
from graphfew.propagation.affinity import knn_mask
from graphfew.propagation.class_priors import unknown_mask
from graphfew.propagation.feature_transforms import check_center

TINY = 1e-12
# The smallest variance of a feature, relative to the initial variance of all features.
MIN_VARIANCE = 1e-3
ASSIGNMENT_STEPS = 5
# Added to the negative cosines of pairs that cannot be neighbors.
EXCLUDED = 1e30


class AnchoredGaussians:
    """Class nodes as means of anchored Gaussians; edges to queries are the logits.

    Args:
        inv_temperature: of the prediction by cosine to the anchors, for 5 classes.
        likelihood_weight: of the mean over features of the Gaussian log-densities.
        neighbor_weight: of the neighbors' mean assignment.
        anchor_strength: pseudo-count of the anchor.
        k: number of neighbors.
        num_iterations: updates of means and variances.
    """

    def __init__(
        self,
        inv_temperature: float,
        likelihood_weight: float,
        neighbor_weight: float,
        anchor_strength: float,
        k: int,
        num_iterations: int,
    ) -> None:
        self.inv_temperature = inv_temperature
        self.likelihood_weight = likelihood_weight
        self.neighbor_weight = neighbor_weight
        self.anchor_strength = anchor_strength
        self.k = k
        self.num_iterations = num_iterations

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._update)

    def _update(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        anchor = F.normalize(tasks.class_nodes, dim=2)
        is_unknown = unknown_mask(tasks)
        sharpness = scale_sharpness(self.inv_temperature, anchor.shape[1])
        anchor_logits = sharpness * torch.bmm(tasks.x, anchor.mT)
        assignment = class_softmax(anchor_logits) * is_unknown
        n_unknown = is_unknown.sum(1, keepdim=True)
        scatter = class_scatter(assignment, tasks.x, anchor).sum(1, keepdim=True)
        anchor_variance = scatter / n_unknown
        # A feature that is constant has variance 0, which no density allows.
        min_variance = MIN_VARIANCE * anchor_variance.mean(2, keepdim=True) + TINY
        anchor_variance = anchor_variance.clamp_min(min_variance).expand_as(anchor)
        adjacency = self._adjacency(tasks, is_unknown)

        mean, variance = anchor, anchor_variance
        logits, assignment = self._assign(
            tasks, anchor_logits, adjacency, assignment, mean, variance
        )
        for _ in range(self.num_iterations):
            fraction = self._observed_fraction(tasks, logits)
            weight = assignment + tasks.one_hot
            observed = F.normalize(torch.bmm(weight.mT, tasks.x), dim=2)
            mean = F.normalize(fraction * observed + (1 - fraction) * anchor, dim=2)
            observed_variance = class_scatter(weight, tasks.x, mean) / weight.sum(1)[..., None]
            # Variance around the new mean if all observations were at the anchor's distance.
            shifted_variance = anchor_variance + (anchor - mean).square()
            variance = fraction * observed_variance + (1 - fraction) * shifted_variance
            variance = variance.clamp_min(min_variance)
            logits, assignment = self._assign(
                tasks, anchor_logits, adjacency, assignment, mean, variance
            )
        return mean, logits

    def _observed_fraction(self, tasks: DenseBatch, logits: Tensor) -> Tensor:
        """Return the weight of the observations against the anchor, `[G, way, 1]`.

        Items are counted by their most probable class, so that the small probabilities of many
        items are no evidence of a class.
        """
        way = logits.shape[2]
        hard = F.one_hot(logits.argmax(2), way) * unknown_mask(tasks)
        count = (hard + tasks.one_hot).sum(1)[..., None]
        out: Tensor = count / (count + self.anchor_strength)
        return out

    def _assign(
        self,
        tasks: DenseBatch,
        anchor_logits: Tensor,
        adjacency: Tensor,
        assignment: Tensor,
        mean: Tensor,
        variance: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return logits and assignment after some steps with fixed Gaussians."""
        density = mean_log_density(tasks.x, mean, variance)
        unary = anchor_logits + self.likelihood_weight * density
        is_unknown = unknown_mask(tasks)
        for _ in range(ASSIGNMENT_STEPS):
            # All items are updated at once, from the previous assignment.
            logits = unary + self.neighbor_weight * torch.bmm(adjacency, assignment)
            assignment = class_softmax(logits) * is_unknown
        return logits, assignment

    def _adjacency(self, tasks: DenseBatch, is_unknown: Tensor) -> Tensor:
        """Return cosines to the nearest queries, both directions added, over `2 k`."""
        both_unknown = is_unknown * is_unknown.mT
        cosine = torch.bmm(tasks.x, tasks.x.mT)
        distance = EXCLUDED * (1 - both_unknown) - cosine
        weights = cosine.clamp_min(0) * knn_mask(distance, self.k) * both_unknown
        out: Tensor = (weights + weights.mT) / (2 * self.k)
        return out


def class_scatter(weight: Tensor, x: Tensor, mean: Tensor) -> Tensor:
    """Return `Σ_i w_ik (x_i - μ_k)²` for each class and feature, `[G, way, F]`."""
    total = weight.sum(1)[..., None]
    first_moment = torch.bmm(weight.mT, x)
    second_moment = torch.bmm(weight.mT, x.square())
    scatter = second_moment - 2 * mean * first_moment + total * mean.square()
    return scatter.clamp_min(0)


def mean_log_density(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return the log-density of diagonal Gaussians, averaged over features, `[G, n, way]`."""
    precision = 1 / variance
    # (x - μ)² / σ², expanded into matrix products.
    squares = torch.bmm(x.square(), precision.mT) - 2 * torch.bmm(x, (mean * precision).mT)
    constant = (mean.square() * precision + variance.log()).sum(2)
    return -(squares + constant[:, None]) / (2 * x.shape[2])


@register_method(paper="Zanella et al. 2025", inductive=False, transductive=True, unlabeled=True)
def stata(
    encoder: nn.Module,
    *,
    dim: int,
    inv_temperature: float = 10.0,
    likelihood_weight: float = 10.0,
    neighbor_weight: float = 1.0,
    anchor_strength: float = 1.0,
    k: int = 3,
    num_iterations: int = 10,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """StatA: Gaussian classes that leave their supports only as far as queries give evidence.

    For queries of few of the task's classes; neither their number nor their proportions are given.
    A class without queries keeps its supports' mean.

    Formula:
        μ⁰_k = the supports' mean, of length 1;  l_q = τ cos(x_q, μ⁰);  z = softmax(l)
        σ²⁰ = mean_q Σ_k z_qk (x_q - μ⁰_k)²;  μ = μ⁰, σ² = σ²⁰
        z_q ← softmax_k(l_qk + a · mean_f log N(x_qf; μ_kf, σ²_kf) + b / 2k · ((W + Wᵀ) z)_qk)
        β_k = n_k / (n_k + s),  n_k the supports and the queries with argmax z = k
        μ_k ← unit(β_k · unit(Σ_i z_ik x_i) + (1 - β_k) μ⁰_k)
        σ²_k ← β_k · Σ_i z_ik (x_i - μ_k)² / Σ_i z_ik + (1 - β_k) (σ²⁰ + (μ⁰_k - μ_k)²)
        z five times, then β, μ and σ², num_iterations times, and z again;  logit_qk = log z_qk
        W_qp = cos(x_q, x_p) for the k nearest queries p of q, sums over i include the supports
        τ = inv_temperature · log(way) / log 5,  a, b, s = likelihood_weight, neighbor_weight,
        anchor_strength

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        inv_temperature: inverse temperature τ of the supports' prediction for 5 classes; it grows
            with the logarithm of the way.
        likelihood_weight: weight of the Gaussian log-density, averaged over features.
        neighbor_weight: weight of the assignment of neighboring queries.
        anchor_strength: pseudo-count of the anchor, the Gaussian around the supports.
        k: neighbors of a query, not counting itself.
        num_iterations: updates of means and variances.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task's supports.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `inv_temperature` or `anchor_strength` is not positive, a weight is
            negative, `k` or `num_iterations` is below 1, or `center` has the wrong length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("stata", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Zanella, Fuchs, De Vleeschouwer, Ben Ayed, 2025, Realistic Test-Time Adaptation of
        Vision-Language Models.

    Deviations:
        The anchors are support means (embeddings of class names in the paper), and supports count
        as observations. The weight of the density is per feature (in the paper 1/50 of the sum,
        about 10 of the mean at 512 features). Negative cosines are 0. Variances have a lower bound.
        Unlabeled nodes are assigned like queries.
    """
    positive = {"inv_temperature": inv_temperature, "anchor_strength": anchor_strength}
    for name, value in positive.items():
        if not value > 0:
            raise InvalidInputError(f"{name} must be positive, got {value}")
    weights = {"likelihood_weight": likelihood_weight, "neighbor_weight": neighbor_weight}
    for name, value in weights.items():
        if not value >= 0:
            raise InvalidInputError(f"{name} must be at least 0, got {value}")
    for name, count in {"k": k, "num_iterations": num_iterations}.items():
        if count < 1:
            raise InvalidInputError(f"{name} must be at least 1, got {count}")
    check_center(center, dim)
    layer = AnchoredGaussians(
        inv_temperature, likelihood_weight, neighbor_weight, anchor_strength, k, num_iterations
    )
    return GraphMethod(
        encoder, support_centered_class_mean_graph(power, center), [layer], class_node_logits
    )
