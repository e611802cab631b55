"""Transductive information maximization, shared by `tim` and `alpha_tim`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, class_softmax, update_classes_and_queries
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import normalized_class_mean_graph
from graphfew.propagation.affinity import squared_distances
from graphfew.propagation.class_priors import unknown_mask
from graphfew.propagation.feature_transforms import check_center

EPSILON = 1e-12
EntropyGradient = Callable[[Tensor], Tensor]
ClassProportions = Callable[[DenseBatch, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the three terms of the objective.

    Attributes:
        support: weight of the supports' cross-entropy.
        marginal: weight of the entropy of the queries' mean prediction.
        conditional: weight of the mean entropy of the queries' predictions.
    """

    support: float
    marginal: float
    conditional: float


class InformationMaximization:
    """Class nodes by Adam on `a CE(supports) - b H(mean prediction) + c mean H(prediction)`.

    Edges to queries are the final logits. With `target`, the mean prediction's cross-entropy with
    the target proportions is subtracted from its entropy, which gives a KL divergence.
    """

    def __init__(
        self,
        weights: LossWeights,
        entropy_gradient: EntropyGradient,
        temperature: float,
        steps: int,
        lr: float,
        target: ClassProportions | None,
    ) -> None:
        self.weights = weights
        self.entropy_gradient = entropy_gradient
        self.temperature = temperature
        self.steps = steps
        self.lr = lr
        self.target = target

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._optimize)

    def _optimize(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        w = tasks.class_nodes
        target = None
        if self.target is not None:
            target = self.target(tasks, class_softmax(self._logits(tasks, w)))
        # Adam as a plain function of tensors, so that training can differentiate through the steps
        # and every task of the batch has its own state.
        first_moment = second_moment = torch.zeros_like(w)
        for step in range(1, self.steps + 1):
            gradient = self._gradient(tasks, w, target)
            first_moment = 0.9 * first_moment + 0.1 * gradient
            second_moment = 0.999 * second_moment + 0.001 * gradient.square()
            direction = first_moment / (1 - 0.9**step)
            deviation = (second_moment / (1 - 0.999**step)).sqrt()
            w = w - self.lr * direction / (deviation + 1e-8)
        return w, self._logits(tasks, w)

    def _logits(self, tasks: DenseBatch, w: Tensor) -> Tensor:
        return -self.temperature / 2 * squared_distances(w, tasks.x).mT

    def _gradient(self, tasks: DenseBatch, w: Tensor, target: Tensor | None) -> Tensor:
        """Return the gradient of the objective with respect to `w`, `[G, way, F]`.

        It is written by hand, because predictions usually run under `torch.no_grad`.
        """
        # Unlabeled nodes are rejected, so every node without a label is a query.
        p = class_softmax(self._logits(tasks, w))
        is_query = unknown_mask(tasks)
        is_support = 1 - is_query
        n_queries = is_query.sum(1, keepdim=True)
        n_supports = is_support.sum(1, keepdim=True)

        mean_p = (p * is_query).sum(1, keepdim=True) / n_queries
        marginal = self.entropy_gradient(mean_p)
        if target is not None:
            marginal = marginal - self.entropy_gradient(target[:, None])
        conditional = self.entropy_gradient(p)
        p_gradient = self.weights.conditional * conditional - self.weights.marginal * marginal
        p_gradient = p_gradient * is_query / n_queries
        # Softmax Jacobian of the query terms, then the cross-entropy of the supports.
        logit_gradient = p * (p_gradient - (p * p_gradient).sum(2, keepdim=True))
        support_gradient = self.weights.support * (p * is_support - tasks.one_hot) / n_supports
        logit_gradient = logit_gradient + support_gradient
        # d logit_ik / d w_k = τ (x_i - w_k).
        x_term = torch.bmm(logit_gradient.mT, tasks.x)
        w_term = logit_gradient.sum(1)[..., None] * w
        return self.temperature * (x_term - w_term)


def information_maximization(
    name: str,
    encoder: nn.Module,
    dim: int,
    layer: InformationMaximization,
    power: float,
    center: Sequence[float] | None,
) -> GraphMethod:
    """Build the method named `name` from its optimization layer."""
    if layer.steps < 1:
        raise InvalidInputError(f"steps must be at least 1, got {layer.steps}")
    check_center(center, dim)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [layer],
        class_node_logits,
        check=require_labeled(name),
    )
