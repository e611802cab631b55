"""Imprinting: the normalized mean embedding of a class becomes its weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, update_class_nodes
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import cosine
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import (
    ScaledMetric,
    class_mean_graph,
    fit_class_nodes,
    normalized_support_means,
)
from graphfew.nn.readout import class_node_logits


def imprint_weights(graph: Graph) -> Graph:
    """Set each class node to the mean of its normalized supports, scaled to length 1."""
    return graph.replace(nodes=update_class_nodes(graph, _unit_means))


def _unit_means(tasks: DenseBatch) -> Tensor:
    return F.normalize(normalized_support_means(tasks), dim=2)


@register_method(paper="Qi et al. 2018", loss=node_loss, works_untrained=True)
def imprinting(encoder: nn.Module, *, dim: int, scale: float = 10.0) -> GraphMethod:
    """Cosine classifier whose weights are the mean normalized embeddings of the classes.

    It works without training; training learns the encoder and the scale.

    Formula:
        w_k = m_k / ‖m_k‖,  m_k = mean_{y_i = k} x_i / ‖x_i‖
        logit_qk = α · cos(w_k, x_q)

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        scale: initial value of α.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `scale` is not positive; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("imprinting", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Qi, Brown, Lowe, 2018, Low-Shot Learning with Imprinted Weights.

    Deviations:
        Trained on episodes (a classifier of all base classes in the paper, whose weights stay next
        to the imprinted ones). Without fine-tuning after imprinting, which the paper also reports: gradient descent
        on the classifier of a task can start there, see `nn.classifier_starts.imprinted_rows`.
    """
    del dim
    require_positive(scale=scale)
    return GraphMethod(
        encoder,
        class_mean_graph,
        [imprint_weights, ScaledMetric(cosine, scale, learn_scale=True)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("imprinting"),
        fit_context=fit_class_nodes,
    )
