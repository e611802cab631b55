"""Prototypical networks: queries are compared with the mean of each class's supports."""

from __future__ import annotations

from torch import nn

from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Metric, squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import (
    ScaledMetric,
    class_mean_graph,
    class_mean_logits,
    fit_class_means,
)
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
    """Softmax over similarities to class means.

    The way in training can exceed the way in evaluation, as it does in the paper.

    Formula:
        c_k = mean_{y_i = k} x_i
        logit_qk = scale · s(x_q, c_k),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`, such as `squared_euclidean` (as in the
            paper) or `cosine`.
        scale: factor on the similarity; cosine needs about 10.
        learn_scale: train the factor.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[0.0], [1.0], [0.5]])
        >>> episode = gf.Episode.single(x, labels, labels < 0, way=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(1))
        >>> model(episode).logits.detach()
        tensor([[-0.2500, -0.2500]])

    Source:
        Snell, Swersky, Zemel, 2017, Prototypical Networks for Few-shot Learning; the learned scale:
        Oreshkin, Rodríguez, Lacoste, 2018, TADAM.

    Deviations:
        None.
    """
    del dim
    return GraphMethod(
        encoder,
        class_mean_graph,
        [ScaledMetric(metric, scale, learn_scale=learn_scale)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("prototypical"),
        fit_context=fit_class_means,
        query_logits=class_mean_logits,
    )
