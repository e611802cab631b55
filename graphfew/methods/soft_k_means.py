"""Semi-supervised prototypical networks: unlabeled nodes move class nodes, by soft k-means in one of three forms."""

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
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits
from graphfew.propagation.affinity import squared_distances

Share = Callable[[DenseBatch, Tensor], Tensor]
STATISTICS = 5
TINY = 1e-12


def unlabeled(tasks: DenseBatch) -> Tensor:
    """`[G, n, 1]` bool: neither support nor query."""
    return ~(tasks.labeled | tasks.query)[..., None]


def by_distance(tasks: DenseBatch, distance: Tensor) -> Tensor:
    """Shares `[G, n, way]` of nodes in classes, `softmax(-distance)`."""
    del tasks
    return class_softmax(-distance)


class Distractor(nn.Module):
    """Shares among the classes and one cluster more, of learned length-scale r around the origin; its own is left out.

    A node is `exp(-‖x‖²/r²) / r` to that cluster where it is `exp(-‖x - c‖²)` to a class.
    """

    def __init__(self, length_scale: float) -> None:
        super().__init__()
        self.log_length_scale = nn.Parameter(torch.tensor(math.log(length_scale)))

    def forward(self, tasks: DenseBatch, distance: Tensor) -> Tensor:
        """Shares `[G, n, way]` from squared distances `[G, n, way]` to class nodes; rows sum to less than 1."""
        origin = tasks.x.square().sum(2, keepdim=True) * (-2 * self.log_length_scale).exp()
        every = torch.cat([-distance, -origin - self.log_length_scale], dim=2)
        return class_softmax(every)[:, :, :-1]


class Mask(nn.Module):
    """Shares times `σ(γ_c (β_c - d̃_jc))`, d̃ the distances of unlabeled nodes in units of their class's mean.

    A small network gives each class its threshold β and slope γ, both positive, from statistics of its d̃. At first
    both are about 1.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        layers = nn.Linear(STATISTICS, hidden), nn.Linear(hidden, 2)
        for layer in layers:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.net = nn.Sequential(layers[0], nn.Tanh(), layers[1])

    def forward(self, tasks: DenseBatch, distance: Tensor) -> Tensor:
        """Masked shares `[G, n, way]` from squared distances `[G, n, way]` to class nodes."""
        return by_distance(tasks, distance) * self.mask(tasks, distance)

    def mask(self, tasks: DenseBatch, distance: Tensor) -> Tensor:
        """`[G, n, way]`, between 0 and 1."""
        free = unlabeled(tasks)
        relative = in_units_of_mean(distance, free)
        threshold, slope = self.net(statistics(relative.detach(), free)).exp().unbind(2)
        out: Tensor = (slope[:, None] * (threshold[:, None] - relative)).sigmoid()
        return out


def in_units_of_mean(distance: Tensor, free: Tensor) -> Tensor:
    """Distances `[G, n, way]` by their mean over the free nodes `[G, n, 1]`, as they are where that mean vanishes."""
    mean = _mean(distance, free)[:, None]
    return distance / torch.where(mean > TINY, mean, 1)


def statistics(values: Tensor, free: Tensor) -> Tensor:
    """`[G, way, 5]`: least, greatest, variance, skew and excess kurtosis of `[G, n, way]` over the free nodes
    `[G, n, 1]`; zeros where a task has none. Values that do not vary have skew 0 and kurtosis -3."""
    away = values - _mean(values, free)[:, None]
    variance = _mean(away.square(), free)
    unit = away / variance.clamp_min(TINY).sqrt()[:, None]
    least, greatest = (
        values.masked_fill(~free, torch.inf).amin(1),
        values.masked_fill(~free, -torch.inf).amax(1),
    )
    found = torch.stack(
        [least, greatest, variance, _mean(unit**3, free), _mean(unit**4, free) - 3], dim=2
    )
    return found.masked_fill(~free.any(1)[:, None], 0)


def _mean(values: Tensor, free: Tensor) -> Tensor:
    return values.masked_fill(~free, 0).sum(1) / free.sum(1).clamp_min(1)


class Refine(nn.Module):
    """Class nodes as means of their supports and of unlabeled nodes, those weighted by their share in the class.

    Edges to queries are squared distances to the class nodes in the end, negated.
    """

    def __init__(self, share: Share, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps is {steps}; give at least 1")
        self.share = share
        self.steps = steps

    def forward(self, graph: Graph) -> Graph:
        """The graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._move)

    def _move(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        free = unlabeled(tasks)
        classes = tasks.class_nodes
        distance = squared_distances(classes, tasks.x).mT
        for _ in range(self.steps):
            classes = weighted_class_means(
                tasks.one_hot + free * self.share(tasks, distance), tasks.x
            )
            distance = squared_distances(classes, tasks.x).mT
        return classes, -distance


def _method(encoder: nn.Module, share: Share, steps: int) -> GraphMethod:
    return GraphMethod(
        encoder,
        class_mean_graph,
        [Refine(share, steps)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
    )


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means(encoder: nn.Module, *, dim: int | None = None, steps: int = 1) -> GraphMethod:
    """Prototypes refined by unlabeled nodes, each of which counts for every class by how near it is.

    Formula:
        m_jk = softmax_k(-‖x_j - c_k‖²),  j unlabeled,  c_k at first the mean of class k's supports
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: unused; every method takes it.
        steps: of soft k-means.

    Train with `node_loss`, on tasks with unlabeled nodes. Queries never move class nodes; without unlabeled nodes
    these are the prototypes. For unlabeled nodes of other classes see `soft_k_means_cluster` and
    `soft_k_means_masked`.

    Raises:
        ValueError: steps below 1.

    Source: Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning for
    Semi-Supervised Few-Shot Classification.

    Deviations: none.
    """
    del dim
    return _method(encoder, by_distance, steps)


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means_cluster(
    encoder: nn.Module, *, dim: int | None = None, steps: int = 1, length_scale: float = 100.0
) -> GraphMethod:
    """`soft_k_means` with one cluster more, which takes in unlabeled nodes that are far from every class.

    Formula:
        m_j = softmax over the classes, -‖x_j - c_k‖², and the cluster, -‖x_j‖² / r² - log r;  j unlabeled
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: unused; every method takes it.
        steps: of soft k-means.
        length_scale: r of that cluster, at first; its logarithm is learned. A node falls to it rather than to a class
            where its squared distance to the class node is above `log r + ‖x‖²/r²`: with 100, above about 4.6. That is
            in units of the encoder's features, so that features of another scale need another r; those of length 1,
            which are never further apart than 4, one of about 2.

    Train with `node_loss`, on tasks with unlabeled nodes: without them nothing tells of the length-scale.

    Raises:
        ValueError: steps below 1, or a length-scale that is not positive and finite.

    Source: Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning for
    Semi-Supervised Few-Shot Classification.

    Deviations: a query has no logit for the cluster, since it belongs to one of the task's classes (the published code
    gives it one). As in the paper, the cluster stays at the origin and squared distances are not halved (in the code
    it moves to its members, and they are).
    """
    del dim
    if not (math.isfinite(length_scale) and length_scale > 0):
        raise ValueError(f"length_scale is {length_scale}; it must be positive and finite")
    return _method(encoder, Distractor(length_scale), steps)


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means_masked(
    encoder: nn.Module, *, dim: int | None = None, steps: int = 1, hidden: int = 20
) -> GraphMethod:
    """`soft_k_means` where an unlabeled node counts less for a class the further away it is beside the others.

    Formula:
        m_jk = softmax_k(-‖x_j - c_k‖²) · σ(γ_k (β_k - d_jk)),  d_jk = ‖x_j - c_k‖² / mean_j ‖x_j - c_k‖²
        (log β_k, log γ_k) = MLP(min, max, variance, skew, kurtosis of d_jk over the unlabeled j)
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: unused; every method takes it.
        steps: of soft k-means.
        hidden: units of the network that gives each class its threshold and slope.

    Train with `node_loss`, on tasks with unlabeled nodes: without them the network learns nothing.

    Raises:
        ValueError: steps or hidden below 1.

    Source: Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning for
    Semi-Supervised Few-Shot Classification.

    Deviations: where the paper leaves it open, as in the published code: threshold and slope are exponentials of what
    the network gives, the kurtosis is the excess, and the statistics pass no gradient to the encoder. Unlike there and
    as in the paper, the mask counts once (in the code twice). Further steps ask the network again (in the code the
    threshold grows by a learned amount).
    """
    del dim
    if hidden < 1:
        raise ValueError(f"hidden is {hidden}; give at least 1")
    return _method(encoder, Mask(hidden), steps)
