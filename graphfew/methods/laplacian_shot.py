"""LaplacianShot: each query between its nearest class mean and what its neighbors say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, class_softmax, update_query_edges
from graphfew.core.graph import Graph
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import normalized_class_mean_graph
from graphfew.propagation.affinity import knn_mask, squared_distances
from graphfew.propagation.class_priors import unknown_mask
from graphfew.propagation.feature_transforms import check_center

FAR = 1e30


class Agree:
    """Edges to queries, scores whose softmax is `y_q ← softmax(-‖x_q - c‖² + weight Σ_p w_qp y_p)`, w 1 for the k
    nearest queries and 0 for all others."""

    def __init__(self, k: int, weight: float, rounds: int) -> None:
        self.k = k
        self.weight = weight
        self.rounds = rounds

    def __call__(self, graph: Graph) -> Graph:
        """The graph with new edges."""
        return graph.replace(edges=update_query_edges(graph, self._agree))

    def _agree(self, tasks: DenseBatch) -> Tensor:
        assert tasks.class_nodes is not None
        counted = unknown_mask(tasks)
        near = self._near(tasks, counted)
        alone = -squared_distances(tasks.class_nodes, tasks.x).mT
        scores = alone
        for _ in range(self.rounds):
            scores = alone + self.weight * torch.bmm(class_softmax(scores).mT, near.mT).mT
        return scores

    def _near(self, tasks: DenseBatch, counted: Tensor) -> Tensor:
        """`[G, n, n]` 0/1: the nearest among queries and unlabeled nodes; supports are nobody's neighbors."""
        apart = counted * counted.mT
        distance = squared_distances(tasks.x, tasks.x) + FAR * (1 - apart)
        return knn_mask(distance, self.k) * apart


@register_method(paper="Ziko et al. 2020", inductive=False, transductive=True, unlabeled=True)
def laplacian_shot(
    encoder: nn.Module,
    *,
    dim: int,
    k: int = 3,
    weight: float = 0.5,
    rounds: int = 20,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """Nearest class mean, smoothed: a query is drawn to the classes of its nearest queries. Needs no training.

    Formula:
        logit_qk = -‖x_q - c_k‖² + weight · Σ_{p in N(q)} y_pk,  c_k the mean of class k's supports
        y_q = softmax_k(logit_q),  N(q) the k queries nearest to q;  rounds times, from y = 0

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        k: neighbors of a query, itself not counted.
        weight: of each neighbor.
        rounds: of the fixed-point iteration.
        power, center: of the features, see `graphfew.propagation.feature_transforms.power_normalize`.

    Raises:
        ValueError: k or rounds below 1, or a center that does not fit.

    Source: Ziko, Dolz, Granger, Ben Ayed, 2020, Laplacian Regularized Few-Shot Learning.

    Deviations: k others (in the code k = 3 are a query itself and two more); always as many rounds (theirs may stop
    before); class means are those of the supports (its rectification of them is `bd_cspn`); accuracy is that of the
    answers as they are (the published figures first matched answers to the true labels).
    """
    for name, value in (("k", k), ("rounds", rounds)):
        if value < 1:
            raise ValueError(f"{name} is {value}; give at least 1")
    check_center(center, dim)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [Agree(k, weight, rounds)],
        class_node_logits,
    )
