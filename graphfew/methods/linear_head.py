"""Logistic regression fitted to the supports of each task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, update_query_edges
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Layers
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FittedContext, LinearPredictor, TransformedPredictor, unit_length
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits, one_hot

Array = NDArray[np.float64]
FitClassifier = Callable[[Array, NDArray[np.int64]], tuple[Array, Array]]


def logistic_regression(inv_regularization: float = 1.0) -> FitClassifier:
    """Return a fit of multinomial logistic regression by scikit-learn, to convergence.

    Args:
        inv_regularization: inverse regularization strength, scikit-learn's `C`.

    Returns:
        A function from features `[n, F]` and labels `[n]` to weights `[way, F]` and biases `[way]`.
    """

    def fit(x: Array, y: NDArray[np.int64]) -> tuple[Array, Array]:
        from sklearn.linear_model import LogisticRegression  # slow to import

        # With two classes scikit-learn fits one weight vector w, the difference of both classes:
        # ‖w‖² is then twice ‖w/2‖² + ‖-w/2‖², so the multinomial optimum needs twice the C.
        is_binary = len(np.unique(y)) == 2
        c = inv_regularization * (2 if is_binary else 1)
        model = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, y)
        if not is_binary:
            return model.coef_, model.intercept_
        sign = np.array([-0.5, 0.5])
        return sign[:, None] * model.coef_, sign * model.intercept_

    return fit


class FittedLinearHead:
    """Layer that sets edges from classes to queries to the logits of a fitted classifier."""

    def __init__(self, fit: FitClassifier, normalize: bool, scale: float) -> None:
        self.fit = fit
        self.normalize = normalize
        self.scale = scale

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new edges to queries; class nodes stay the class means."""
        return graph.replace(edges=update_query_edges(graph, self._logits))

    def fit_context(self, context: Episode) -> FittedContext:
        """Fit the classifier to the supports of one task."""
        x = self.features(context.x)
        weight, bias = self._fit_task(x, one_hot(context, x))
        # The features of a query are scaled as in `features`, by the weights if possible.
        linear = LinearPredictor(self.scale * weight.to(x), bias.to(x))
        if not self.normalize:
            return FittedContext(linear)
        return FittedContext(TransformedPredictor(unit_length, linear))

    def features(self, x: Tensor) -> Tensor:
        """Return features `[..., F]` of the length that the classifier is fitted to."""
        return self.scale * (F.normalize(x, dim=-1) if self.normalize else x)

    def _logits(self, tasks: DenseBatch) -> Tensor:
        features = self.features(tasks.x)
        # scikit-learn fits one task at a time, on CPU arrays and without gradients.
        weights, biases = [], []
        for x, label in zip(features, tasks.one_hot, strict=True):
            weight, bias = self._fit_task(x, label)
            weights.append(weight)
            biases.append(bias)
        weight = torch.stack(weights).mT.to(features)
        bias = torch.stack(biases)[:, None].to(features)
        return torch.baddbmm(bias, features, weight)

    def _fit_task(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        is_support = label.any(1)
        # float64, because the solver runs to a tolerance of 1e-10.
        features = x[is_support].detach().double().cpu().numpy()
        classes = label[is_support].argmax(1).cpu().numpy()
        weight, bias = self.fit(features, classes)
        return torch.from_numpy(weight), torch.from_numpy(bias)


@register_method(paper="Tian et al. 2020")
def linear_head(
    encoder: nn.Module,
    *,
    dim: int | None = None,
    inv_regularization: float = 1.0,
    normalize: bool = True,
    scale: float = 1.0,
) -> GraphMethod:
    """Logistic regression on the supports of each task.

    Formula:
        W, b = argmin  ½ ‖W‖² + C · Σ_supports CE(W x_i + b, y_i),  C = inv_regularization
        logit_q = W x_q + b,  x = scale · φ / ‖φ‖

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        inv_regularization: inverse regularization strength, scikit-learn's `C`.
        normalize: normalize features to length 1 first.
        scale: factor on the features after that.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `inv_regularization` is not positive; later, if a task has unlabeled
            nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("linear_head", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Tian, Wang, Krishnan, Tenenbaum, Isola, 2020, Rethinking Few-Shot Image Classification: A
        Good Embedding Is All You Need?

    Deviations:
        Solved by scikit-learn to convergence, task by task, without gradients.
    """
    del dim
    if not inv_regularization > 0:
        raise InvalidInputError(f"inv_regularization must be positive, got {inv_regularization}")
    layer = FittedLinearHead(logistic_regression(inv_regularization), normalize, scale)

    def fit_context(_: Layers, context: Episode) -> FittedContext:
        return layer.fit_context(context)

    return GraphMethod(
        encoder,
        class_mean_graph,
        [layer],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("linear_head"),
        fit_context=fit_context,
    )
