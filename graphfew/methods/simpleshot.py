"""SimpleShot: nearest class mean of centered features of length 1."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Layers, squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FittedContext, TransformedPredictor
from graphfew.nn.prototypes import (
    ScaledMetric,
    class_mean_graph,
    class_mean_logits,
    fit_class_means,
    task_class_means,
)
from graphfew.nn.readout import class_node_logits
from graphfew.ops.centering import subtract_per_task
from graphfew.propagation.feature_transforms import check_center, unit_rows
from graphfew.propagation.fitted_transforms import CenteredUnit


@register_method(paper="Wang et al. 2019")
def simpleshot(
    encoder: nn.Module, *, dim: int, center: Sequence[float] | None = None, scale: float = 10.0
) -> GraphMethod:
    """Nearest class mean of centered features that are normalized to length 1.

    Formula:
        x ← (x - center) / ‖x - center‖,  c_k = mean_{y_i = k} x_i
        logit_qk = -scale · ‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        center: the mean feature of the training classes, `dim` numbers; None uses the mean of each
            task's class means.
        scale: factor on the negative distance; it changes the probabilities but not the
            predictions.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `center` has another length than `dim` or a value that is not finite;
            later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("simpleshot", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Wang, Chao, Weinberger, van der Maaten, 2019, SimpleShot: Revisiting Nearest-Neighbor
        Classification for Few-Shot Learning.

    Deviations:
        Without `center` the supports' own mean is used (always that of the training classes in the
        paper).
    """
    check_center(center, dim)

    def embed(episode: Episode) -> Graph:
        return class_mean_graph(_normalize(episode, center))

    def query_logits(layers: Layers, encoded: Episode) -> Tensor | None:
        return class_mean_logits(layers, _normalize(encoded, center))

    def fit_context(layers: Layers, context: Episode) -> FittedContext:
        if center is not None:
            transform = CenteredUnit(context.x.new_tensor(center))
        else:
            transform = CenteredUnit(task_class_means(context)[0])
        fitted = fit_class_means(layers, context.encode(transform))
        return FittedContext(TransformedPredictor(transform, fitted.predictor))

    return GraphMethod(
        encoder,
        embed,
        [ScaledMetric(squared_euclidean, scale)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("simpleshot"),
        fit_context=fit_context,
        query_logits=query_logits,
    )


def _normalize(episode: Episode, center: Sequence[float] | None) -> Episode:
    """Subtract the center and scale to length 1."""
    if center is not None:
        centered = episode.x - episode.x.new_tensor(center)
    else:
        # Supports only, and every class equally: queries must not influence each other.
        centered = subtract_per_task(episode.x, task_class_means(episode), episode.sizes)
    return episode.encode(lambda _: unit_rows(centered))
