"""Semi-supervised prototypical networks: prototypes refined by soft k-means, in three variants."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import (
    DenseBatch,
    class_softmax,
    update_classes_and_queries,
    weighted_class_means,
)
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits
from graphfew.propagation.affinity import squared_distances

# From tasks and squared distances `[G, n, way]` to class probabilities `[G, n, way]`.
Assign = Callable[[DenseBatch, Tensor], Tensor]
NUM_STATISTICS = 5
EPSILON = 1e-12


def unlabeled_mask(tasks: DenseBatch) -> Tensor:
    """Return the mask of nodes that are neither support nor query, `[G, n, 1]` bool."""
    return ~(tasks.labeled | tasks.query)[..., None]


def distance_probs(tasks: DenseBatch, distance: Tensor) -> Tensor:
    """Return class probabilities `softmax(-distance)`, `[G, n, way]`."""
    del tasks
    return class_softmax(-distance)


class DistractorCluster(nn.Module):
    """Probabilities of the classes and of a distractor cluster at the origin.

    The cluster has a learned length-scale `r`: the unnormalized probability of a node is
    `exp(-‖x‖²/r²) / r` for the cluster and `exp(-‖x - c‖²)` for a class.
    """

    def __init__(self, length_scale: float) -> None:
        super().__init__()
        self.log_length_scale = nn.Parameter(torch.tensor(math.log(length_scale)))

    def forward(self, tasks: DenseBatch, distance: Tensor) -> Tensor:
        """Return the class probabilities `[G, n, way]` only, so that rows sum to less than 1."""
        inv_variance = (-2 * self.log_length_scale).exp()
        cluster_distance = tasks.x.square().sum(2, keepdim=True) * inv_variance
        cluster_logit = -cluster_distance - self.log_length_scale
        logits = torch.cat([-distance, cluster_logit], dim=2)
        # The cluster's own probability is dropped: it only takes mass away from the classes.
        return class_softmax(logits)[:, :, :-1]


class DistractorMask(nn.Module):
    """Class probabilities times a soft mask `σ(γ_c (β_c - d̃_jc))` of the unlabeled nodes.

    `d̃` are the distances relative to the mean distance of the class. An MLP predicts the threshold
    β and the slope γ of each class, both positive and initially about 1, from statistics of `d̃`.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        first, second = nn.Linear(NUM_STATISTICS, hidden), nn.Linear(hidden, 2)
        for layer in (first, second):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.net = nn.Sequential(first, nn.Tanh(), second)

    def forward(self, tasks: DenseBatch, distance: Tensor) -> Tensor:
        """Map squared distances to masked class probabilities, both `[G, n, way]`."""
        return distance_probs(tasks, distance) * self.mask(tasks, distance)

    def mask(self, tasks: DenseBatch, distance: Tensor) -> Tensor:
        """Return the soft mask `[G, n, way]`, between 0 and 1."""
        is_unlabeled = unlabeled_mask(tasks)
        relative = relative_distance(distance, is_unlabeled)
        # As in the published code, the statistics pass no gradient to the encoder.
        statistics = distance_statistics(relative.detach(), is_unlabeled)
        threshold, slope = self.net(statistics).exp().unbind(2)
        out: Tensor = (slope[:, None] * (threshold[:, None] - relative)).sigmoid()
        return out


def relative_distance(distance: Tensor, mask: Tensor) -> Tensor:
    """Divide distances `[G, n, way]` by their mean over the masked nodes, unless that is 0."""
    mean = _masked_mean(distance, mask)[:, None]
    return distance / torch.where(mean > EPSILON, mean, 1)


def distance_statistics(values: Tensor, mask: Tensor) -> Tensor:
    """Minimum, maximum, variance, skewness and excess kurtosis per class over the masked nodes.

    Args:
        values: `[G, n, way]`.
        mask: `[G, n, 1]` bool.

    Returns:
        `[G, way, 5]`; zeros for a task without masked nodes. Constant values have skewness 0 and
        kurtosis -3.
    """
    centered = values - _masked_mean(values, mask)[:, None]
    variance = _masked_mean(centered.square(), mask)
    standardized = centered / variance.clamp_min(EPSILON).sqrt()[:, None]
    minimum = values.masked_fill(~mask, torch.inf).amin(1)
    maximum = values.masked_fill(~mask, -torch.inf).amax(1)
    skewness = _masked_mean(standardized**3, mask)
    kurtosis = _masked_mean(standardized**4, mask) - 3
    statistics = torch.stack([minimum, maximum, variance, skewness, kurtosis], dim=2)
    return statistics.masked_fill(~mask.any(1)[:, None], 0)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0).sum(1) / mask.sum(1).clamp_min(1)


class SoftKMeans(nn.Module):
    """Class nodes as means of supports and of unlabeled nodes, weighted by class probabilities.

    Edges to queries are the negative squared distances to the final class nodes.
    """

    def __init__(self, assign: Assign, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise InvalidInputError(f"steps must be at least 1, got {steps}")
        self.assign = assign
        self.steps = steps

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._update)

    def _update(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        is_unlabeled = unlabeled_mask(tasks)
        classes = tasks.class_nodes
        distance = squared_distances(classes, tasks.x).mT
        for _ in range(self.steps):
            # Queries have weight 0, so predictions do not depend on other queries.
            weight = tasks.one_hot + is_unlabeled * self.assign(tasks, distance)
            classes = weighted_class_means(weight, tasks.x)
            distance = squared_distances(classes, tasks.x).mT
        return classes, -distance


def _create(encoder: nn.Module, assign: Assign, steps: int) -> GraphMethod:
    return GraphMethod(
        encoder,
        class_mean_graph,
        [SoftKMeans(assign, steps)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
    )


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means(encoder: nn.Module, *, dim: int | None = None, steps: int = 1) -> GraphMethod:
    """Prototypes refined by unlabeled nodes, weighted by their class probabilities.

    Train on tasks with unlabeled nodes. Queries never change class nodes; without unlabeled nodes
    this is `prototypical`. If unlabeled nodes can be OOD, see `soft_k_means_cluster` and
    `soft_k_means_masked`.

    Formula:
        m_jk = softmax_k(-‖x_j - c_k‖²),  j unlabeled,  c_k initially the mean of class k's supports
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        steps: iterations of soft k-means.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `steps` is below 1.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1, -1])  # one support per class, two unlabeled
        >>> is_query = torch.arange(5) == 4
        >>> episode = gf.Episode.single(torch.randn(5, 8), labels, is_query, way=2)
        >>> model = gf.create("soft_k_means", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([1, 2])

    Source:
        Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning
        for Semi-Supervised Few-Shot Classification.

    Deviations:
        None.
    """
    del dim
    return _create(encoder, distance_probs, steps)


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means_cluster(
    encoder: nn.Module, *, dim: int | None = None, steps: int = 1, length_scale: float = 100.0
) -> GraphMethod:
    """`soft_k_means` with a distractor cluster for unlabeled nodes that are far from every class.

    Train on tasks with unlabeled nodes: without them the length-scale receives no gradient.

    Formula:
        m_j = softmax over the classes, -‖x_j - c_k‖², and the cluster, -‖x_j‖² / r² - log r
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  j unlabeled,  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        steps: iterations of soft k-means.
        length_scale: initial value of `r`; its logarithm is learned. A node belongs to the cluster
            rather than to a class if its squared distance to the class node exceeds
            `log r + ‖x‖²/r²`, about 4.6 with the default. The right value depends on the scale of
            the features: those of length 1, whose squared distances are at most 4, need about 2.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `steps` is below 1, or `length_scale` is not positive and finite.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1, -1])  # one support per class, two unlabeled
        >>> is_query = torch.arange(5) == 4
        >>> episode = gf.Episode.single(torch.randn(5, 8), labels, is_query, way=2)
        >>> model = gf.create("soft_k_means_cluster", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([1, 2])

    Source:
        Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning
        for Semi-Supervised Few-Shot Classification.

    Deviations:
        A query has no logit for the cluster, since it belongs to one of the task's classes (the
        published code has one). As in the paper, the cluster stays at the origin and squared
        distances are not halved (in the code it moves to its members, and they are).
    """
    del dim
    if not (math.isfinite(length_scale) and length_scale > 0):
        raise InvalidInputError(f"length_scale must be positive and finite, got {length_scale}")
    return _create(encoder, DistractorCluster(length_scale), steps)


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means_masked(
    encoder: nn.Module, *, dim: int | None = None, steps: int = 1, hidden: int = 20
) -> GraphMethod:
    """`soft_k_means` with a learned mask of unlabeled nodes that are relatively far from a class.

    Train on tasks with unlabeled nodes: without them the mask receives no gradient.

    Formula:
        d_jk = ‖x_j - c_k‖² / mean_j ‖x_j - c_k‖²
        m_jk = softmax_k(-‖x_j - c_k‖²) · σ(γ_k (β_k - d_jk)),  j unlabeled
        (log β_k, log γ_k) = MLP(min, max, variance, skewness, kurtosis of d_jk over j)
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        steps: iterations of soft k-means.
        hidden: hidden units of the MLP that predicts threshold and slope.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `steps` or `hidden` is below 1.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1, -1])  # one support per class, two unlabeled
        >>> is_query = torch.arange(5) == 4
        >>> episode = gf.Episode.single(torch.randn(5, 8), labels, is_query, way=2)
        >>> model = gf.create("soft_k_means_masked", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([1, 2])

    Source:
        Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning
        for Semi-Supervised Few-Shot Classification.

    Deviations:
        Where the paper leaves it open, as in the published code: threshold and slope are
        exponentials of the MLP's outputs, the kurtosis is the excess, and the statistics pass no
        gradient to the encoder. As in the paper and unlike the code, the mask is applied once
        (twice in the code). Later steps evaluate the MLP again (the threshold grows by a learned
        amount in the code).
    """
    del dim
    if hidden < 1:
        raise InvalidInputError(f"hidden must be at least 1, got {hidden}")
    return _create(encoder, DistractorMask(hidden), steps)
