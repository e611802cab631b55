"""Nearest neighbor: the class of the most similar support."""

from __future__ import annotations

import torch
from torch import nn

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Layers, Metric, squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FittedContext, NearestSupportPredictor, sorted_supports
from graphfew.nn.prototypes import ScaledMetric, support_query_graph
from graphfew.nn.readout import nearest_support_logits


def flat_support_query_graph(episode: Episode) -> Graph:
    """Flatten the items to vectors, so that pixels are features, and link supports to queries."""
    return support_query_graph(episode.encode(lambda x: torch.flatten(x, 1)))


@register_method(paper="Cover, Hart 1967")
def nearest_neighbor(
    encoder: nn.Module, *, dim: int | None = None, metric: Metric = squared_euclidean
) -> GraphMethod:
    """Class of the nearest support; on pixels (`identity` encoder) the usual lower bound.

    Formula:
        logit_qk = max_{y_i = k} s(x_q, x_i),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, ...]`; its output is flattened.
        dim: ignored; accepted for uniformity.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[0.0], [1.0], [0.75]])
        >>> episode = gf.Episode.single(x, labels, labels < 0, way=2)
        >>> model = gf.create("nearest_neighbor", encoder=gf.backbones.identity(1))
        >>> model(episode).logits.argmax(1)
        tensor([1])

    Source:
        Cover, Hart, 1967, Nearest Neighbor Pattern Classification.

    Deviations:
        None; the logits are the similarity to the nearest support of each class.
    """
    del dim

    def fit_context(layers: Layers, context: Episode) -> FittedContext:
        layer = layers[0]
        assert isinstance(layer, ScaledMetric)
        supports = sorted_supports(context, layer.metric, layer.scale.item())
        return FittedContext(NearestSupportPredictor(supports))

    return GraphMethod(
        encoder,
        flat_support_query_graph,
        [ScaledMetric(metric)],
        nearest_support_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("nearest_neighbor"),
        fit_context=fit_context,
    )
