"""Soft k-means on class nodes, and the assignments of its three variants."""

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
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.nn.layers import Layers
from graphfew.nn.predictors import ClassNodePredictor, FittedContext
from graphfew.nn.prototypes import class_mean_graph
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
        # A learned logarithm keeps the length-scale positive.
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
        # Small weights: threshold and slope start at exp(0) = 1.
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
    # The mean is 0 if all unlabeled nodes coincide with the class node, or if there are none.
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
    # The clamp makes the moments of constant values 0 instead of NaN.
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

    def class_nodes(self, context: Episode) -> Tensor:
        """Return the final class nodes `[way, F]` of one encoded task."""
        graph = self(class_mean_graph(context))
        out: Tensor = graph.nodes[len(context.y) :]
        return out

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


def fit_soft_k_means(layers: Layers, context: Episode) -> FittedContext:
    """Compute the final class nodes of an encoded task, which queries are compared with."""
    layer = layers[0]
    assert isinstance(layer, SoftKMeans)
    return FittedContext(ClassNodePredictor(layer.class_nodes(context)))
