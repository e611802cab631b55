"""A linear classifier fitted to each task's supports."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, update_query_edges
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits

Array = NDArray[np.float64]
Fit = Callable[[Array, NDArray[np.int64]], tuple[Array, Array]]


def logistic_regression(strength: float = 1.0) -> Fit:
    """Multinomial logistic regression by scikit-learn, solved to convergence; `strength` is its inverse penalty C."""

    def fit(x: Array, y: NDArray[np.int64]) -> tuple[Array, Array]:
        from sklearn.linear_model import LogisticRegression  # takes a second to import

        # Two classes have one row of weights, for the second against the first; it would be penalized twice as much.
        two = len(np.unique(y)) == 2
        model = LogisticRegression(C=strength * (1 + two), tol=1e-10, max_iter=10_000).fit(x, y)
        if not two:
            return model.coef_, model.intercept_
        sign = np.array([-0.5, 0.5])
        return sign[:, None] * model.coef_, sign * model.intercept_

    return fit


@register_method(paper="Tian et al. 2020")
def linear_head(
    encoder: nn.Module,
    *,
    dim: int | None = None,
    strength: float = 1.0,
    cosine: bool = True,
    scale: float = 1.0,
) -> GraphMethod:
    """Logistic regression on the supports of each task. Needs no training.

    Formula:
        W, b = argmin  ½ ‖W‖² + strength · Σ_supports CE(W x_i + b, y_i)
        logit_q = W x_q + b,  x = scale · φ / ‖φ‖

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: unused; every method takes it.
        strength: inverse of the penalty on the weights.
        cosine: features are brought to length 1 first, so that the classifier is one of angles.
        scale: factor on the features after that.

    Raises:
        ValueError: a strength that is not positive; later, a task with unlabeled nodes.

    Source: Tian, Wang, Krishnan, Tenenbaum, Isola, 2020, Rethinking Few-Shot Image Classification: A Good Embedding Is
    All You Need?

    Deviations: solved by scikit-learn to convergence, task by task; gradients do not flow through it.
    """
    del dim
    if not strength > 0:
        raise ValueError(f"strength is {strength}; it must be positive")
    layer = _Fitted(logistic_regression(strength), cosine, scale)
    return GraphMethod(
        encoder,
        class_mean_graph,
        [layer],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("linear_head"),
    )


class _Fitted:
    """A layer: edges from classes to queries are the classifier's scores; class nodes stay the means."""

    def __init__(self, fit: Fit, cosine: bool, scale: float) -> None:
        self.fit = fit
        self.cosine = cosine
        self.scale = scale

    def __call__(self, graph: Graph) -> Graph:
        return graph.replace(edges=update_query_edges(graph, self._score))

    def _score(self, tasks: DenseBatch) -> Tensor:
        x = self.scale * (F.normalize(tasks.x, dim=2) if self.cosine else tasks.x)
        weights, biases = zip(
            *(self._one(*task) for task in zip(x, tasks.one_hot, strict=True)), strict=True
        )
        return torch.baddbmm(torch.stack(biases)[:, None].to(x), x, torch.stack(weights).mT.to(x))

    def _one(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        known = label.any(1)
        rows, classes = (
            x[known].detach().double().cpu().numpy(),
            label[known].argmax(1).cpu().numpy(),
        )
        weights, bias = self.fit(rows, classes)
        return torch.from_numpy(weights), torch.from_numpy(bias)
