"""Soft assignment of queries to classes and prototype updates, which transductive methods share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from graphfew.core.dense_batch import (
    DenseBatch,
    class_softmax,
    scale_sharpness,
    update_classes_and_queries,
    weighted_class_means,
)
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.nn.prototypes import class_mean_graph
from graphfew.propagation.affinity import squared_distances
from graphfew.propagation.class_priors import (
    class_prior,
    estimate_proportions,
    sinkhorn,
    unknown_mask,
)
from graphfew.propagation.feature_transforms import power_normalize

TINY = 1e-30


def normalized_class_mean_graph(
    power: float, center: Sequence[float] | None
) -> Callable[[Episode], Graph]:
    """Return an embedding function: `power_normalize`, then `class_mean_graph`.

    Args:
        power: exponent of the features, see `power_normalize`.
        center: center of the features, see `power_normalize`.

    Returns:
        A function from an encoded episode to its first graph, for `GraphMethod(embed=...)`.
    """

    def embed(episode: Episode) -> Graph:
        return class_mean_graph(power_normalize(episode, power, center))

    return embed


def support_centered_class_mean_graph(
    power: float, center: Sequence[float] | None
) -> Callable[[Episode], Graph]:
    """Return an embedding function whose center does not depend on the queries.

    The mean of all nodes moves toward the classes of the queries, which is a disadvantage if they
    belong to few of the classes.

    Args:
        power: exponent of the features, see `power_normalize`.
        center: center of the features; None for the mean of each task's labeled nodes.

    Returns:
        A function from an encoded episode to its first graph, for `GraphMethod(embed=...)`.
    """

    def embed(episode: Episode) -> Graph:
        centered = power_normalize(episode, power, center, counted=episode.labeled)
        return class_mean_graph(centered)

    return embed


class SoftAssignment:
    """Class probabilities of queries and unlabeled nodes, given the class nodes.

    Formula:
        m_i = softmax_k(-s ‖x_i - c_k‖² + log π_k),  s = sharpness · log(way) / log 5

    Args:
        sharpness: factor on the squared distance, for 5 classes.
        prior: class proportions among the queries; None for uniform ones.
        balanced: constrain the proportions to equal the prior, with Sinkhorn's algorithm;
            otherwise π is estimated from the previous assignment.
        strength: pseudo-count per class of the prior in that estimate.
    """

    def __init__(
        self, sharpness: float, prior: Sequence[float] | None, balanced: bool, strength: float
    ) -> None:
        self.sharpness = sharpness
        self.prior = prior
        self.balanced = balanced
        self.strength = strength

    def __call__(
        self,
        tasks: DenseBatch,
        class_nodes: Float[Tensor, "G way F"],
        previous: Float[Tensor, "G n way"] | None,
    ) -> Float[Tensor, "G n way"]:
        """Return class probabilities `[G, n, way]`; the rows of supports are 0.

        `previous` is the assignment of the previous iteration, None in the first one.
        """
        sharpness = scale_sharpness(self.sharpness, class_nodes.shape[1])
        scores = -sharpness * squared_distances(class_nodes, tasks.x).mT
        is_unknown = unknown_mask(tasks)
        prior = class_prior(self.prior, tasks.one_hot)
        if self.balanced:
            return sinkhorn(scores, is_unknown, prior)
        # The first round has no assignment to estimate proportions from.
        proportions = prior[None]
        if previous is not None:
            proportions = estimate_proportions(previous, prior, self.strength)
        return class_softmax(scores + proportions.log()[:, None]) * is_unknown


class PrototypeUpdate:
    """Layer that moves class nodes toward the mean of their supports and assigned nodes.

    Formula:
        c_k ← c_k + rate · ((Σ_{y_i = k} x_i + Σ_q m_qk x_q) / (K_k + Σ_q m_qk) - c_k)

    Args:
        assign: the soft assignment, called before the first and after every step.
        rate: fraction of the way that a class node moves per step.
        rounds: number of steps.
    """

    def __init__(self, assign: SoftAssignment, rate: float, rounds: int) -> None:
        self.assign = assign
        self.rate = rate
        self.rounds = rounds

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes, and log-probabilities as edges to queries."""
        return update_classes_and_queries(graph, self._update)

    def _update(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        class_nodes = tasks.class_nodes
        assignment = self.assign(tasks, class_nodes, None)
        for _ in range(self.rounds):
            means = weighted_class_means(assignment + tasks.one_hot, tasks.x)
            class_nodes = class_nodes + self.rate * (means - class_nodes)
            assignment = self.assign(tasks, class_nodes, assignment)
        return class_nodes, assignment.clamp_min(TINY).log()
