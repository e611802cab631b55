"""Prototypical networks: class nodes that are the mean of their supports."""

from __future__ import annotations

from torch import nn

from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Metric, squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import ScaledMetric, class_mean_graph
from graphfew.nn.readout import class_node_logits


@register_method(paper="Snell et al. 2017", loss=node_loss)
def prototypical(
    encoder: nn.Module,
    *,
    dim: int | None = None,
    metric: Metric = squared_euclidean,
    scale: float = 1.0,
    learn_scale: bool = False,
) -> GraphMethod:
    """Softmax over the similarity of a query to the mean of each class's supports; training way may exceed test way.

    Formula:
        c_k = mean_{y_i = k} x_i
        logit_qk = scale · s(x_q, c_k),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: unused; every method takes it.
        metric: `squared_euclidean` (the paper's choice) or `cosine`, or any similarity `([P, F], [P, F]) -> [P, 1]`.
        scale: factor on the similarity; cosine needs one of about 10.
        learn_scale: train the factor.

    Raises:
        ValueError: a task with unlabeled nodes.

    Source: Snell, Swersky, Zemel, 2017, Prototypical Networks for Few-shot Learning; the learned scale: Oreshkin,
    Rodríguez, Lacoste, 2018, TADAM.

    Deviations: none.
    """
    del dim
    layers = [ScaledMetric(metric, scale, learn_scale=learn_scale)]
    return GraphMethod(
        encoder,
        class_mean_graph,
        layers,
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("prototypical"),
    )
