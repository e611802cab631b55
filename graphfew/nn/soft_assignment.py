"""TODO module docstring."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from graphfew.nn.prototypes import class_mean_graph as with_class_means
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
    """Prepared features, and class nodes that are the mean of their supports."""
    return lambda episode: with_class_means(power_normalize(episode, power, center))


class SoftAssignment:
    """How queries and unlabeled nodes share themselves among class nodes, `[G, n, way]`; rows of supports are 0."""

    def __init__(
        self, sharpness: float, prior: Sequence[float] | None, balanced: bool, strength: float
    ) -> None:
        self.sharpness = sharpness
        self.prior = prior
        self.balanced = balanced
        self.strength = strength

    def __call__(self, tasks: DenseBatch, classes: Tensor, assigned: Tensor | None) -> Tensor:
        """Shares given class nodes `[G, way, F]` and, after the first time, the shares before."""
        scores = (
            -scale_sharpness(self.sharpness, classes.shape[1])
            * squared_distances(classes, tasks.x).mT
        )
        counted, prior = unknown_mask(tasks), class_prior(self.prior, tasks.one_hot)
        if self.balanced:
            return sinkhorn(scores, counted, prior)
        part = (
            prior[None]
            if assigned is None
            else estimate_proportions(assigned, prior, self.strength)
        )
        return class_softmax(scores + part.log()[:, None]) * counted


class PrototypeUpdate:
    """Class nodes after `rounds` steps towards the mean of their supports and of what is assigned to them.

    Edges to queries are the logarithm of their shares in the end.
    """

    def __init__(self, assign: SoftAssignment, rate: float, rounds: int) -> None:
        self.assign = assign
        self.rate = rate
        self.rounds = rounds

    def __call__(self, graph: Graph) -> Graph:
        """The graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._move)

    def _move(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        classes = tasks.class_nodes
        assigned = self.assign(tasks, classes, None)
        for _ in range(self.rounds):
            centers = weighted_class_means(assigned + tasks.one_hot, tasks.x)
            classes = classes + self.rate * (centers - classes)
            assigned = self.assign(tasks, classes, assigned)
        return classes, assigned.clamp_min(TINY).log()
