"""A linear classifier per task: its weights are the class nodes, its logits edges to queries."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphfew.core.dense_batch import (
    DenseBatch,
    dense_task,
    update_classes_and_queries,
    update_query_edges,
)
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.core.support_batch import SupportBatch, query_scores
from graphfew.core.supports import Supports, gather_supports
from graphfew.nn.layers import Layers
from graphfew.nn.predictors import FittedContext, LinearPredictor


@dataclasses.dataclass(frozen=True, eq=False)
class LinearWeights:
    """Weights of linear classifiers, one per task.

    Attributes:
        weight: `[G, way, F]`.
        bias: `[G, way]`; None for 0.
    """

    weight: Float[Tensor, "G way F"]
    bias: Float[Tensor, "G way"] | None = None

    def logits(self, x: Float[Tensor, "G n F"]) -> Float[Tensor, "G n way"]:
        """Return the logits of items, in the dtype of `x`."""
        weight = self.weight.to(x.dtype)
        # There are few classes: a wide result is faster than a narrow one.
        if self.bias is None:
            return torch.bmm(weight, x.mT).mT
        return torch.baddbmm(self.bias.to(x.dtype)[:, :, None], weight, x.mT).mT


class LinearClassifier(nn.Module):
    """Layer that fits a linear classifier to the supports of each task.

    Class nodes become the rows of the weights, and edges from classes to queries the logits.

    Args:
        fit: module from `Supports` to `LinearWeights`.
    """

    def __init__(self, fit: nn.Module) -> None:
        super().__init__()
        self.fit = fit

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and new edges to queries."""
        return update_classes_and_queries(graph, self._update)

    def forward_to_queries(self, graph: Graph) -> Graph:
        """Return the graph with new edges to queries; class nodes stay, which saves a copy."""
        return graph.replace(edges=update_query_edges(graph, self._logits))

    def weights(self, tasks: DenseBatch) -> LinearWeights:
        """Fit the classifiers of dense tasks."""
        weights: LinearWeights = self.fit(gather_supports(tasks))
        return weights

    def query_logits(self, batch: SupportBatch) -> Float[Tensor, "G Q way"]:
        """Fit the classifiers of dense tasks and return the logits of their queries."""
        n_tasks, n_supports, _ = batch.supports.shape
        nodes = torch.arange(n_supports, device=batch.supports.device).expand(n_tasks, -1)
        supports = Supports(
            batch.supports,
            batch.one_hot,
            mask=torch.ones_like(nodes, dtype=torch.bool),
            nodes=nodes,
        )
        weights: LinearWeights = self.fit(supports)
        return weights.logits(batch.queries)

    def _logits(self, tasks: DenseBatch) -> Tensor:
        return self.weights(tasks).logits(tasks.x)

    def _update(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        weights = self.weights(tasks)
        return weights.weight.to(tasks.x.dtype), weights.logits(tasks.x)


def linear_query_logits(layers: Layers, encoded: Episode) -> Float[Tensor, "Q way"]:
    """Compute the logits of a method whose only layer is a `LinearClassifier`, without graphs.

    Args:
        layers: the method's layers.
        encoded: tasks with features `[N, F]`.

    Returns:
        `[Q, max(way)]`; `-inf` for classes that a query's task does not have.
    """
    layer = layers[0]
    assert isinstance(layer, LinearClassifier)
    return query_scores(encoded, layer.query_logits)


def fit_linear_classifier(layers: Layers, context: Episode) -> FittedContext:
    """Fit a method whose only layer is a `LinearClassifier`.

    Args:
        layers: the method's layers.
        context: an encoded task, `x [N, F]`.

    Returns:
        The linear predictor.
    """
    layer = layers[0]
    assert isinstance(layer, LinearClassifier)
    fitted = layer.weights(dense_task(context))
    weight = fitted.weight[0].to(context.x.dtype)
    bias = weight.new_zeros(len(weight)) if fitted.bias is None else fitted.bias[0].to(weight.dtype)
    return FittedContext(LinearPredictor(weight, bias))
