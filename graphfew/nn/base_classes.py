"""Attention of novel classes to base classes, and the logits of both together."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, weighted_class_means
from graphfew.errors import InvalidInputError
from graphfew.nn.method import GraphMethod, MethodOutput


@runtime_checkable
class BaseClassLayer(Protocol):
    """A layer that has weights of base classes."""

    def base_logits(self, x: Float[Tensor, "n F"]) -> Float[Tensor, "n num_base_classes"]:
        """Return the logits of the base classes."""


def base_class_attention(
    tasks: DenseBatch,
    queries: Float[Tensor, "G n F"],
    keys: Float[Tensor, "num_base_classes F"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, "G way num_base_classes"]:
    """Average the attention of each class's supports to the base classes.

    Formula:
        m_kb = mean_{y_i = k} softmax_b(scale · cos(q_i, key_b))

    Args:
        tasks: tasks of one size and way.
        queries: q, what each node compares with the keys.
        keys: one row per base class.
        scale: factor on the cosine.

    Returns:
        Rows that sum to 1, `[G, way, num_base_classes]`.
    """
    similarity = F.normalize(queries, dim=2) @ F.normalize(keys, dim=1).T
    attention = (scale * similarity).softmax(dim=2)
    return weighted_class_means(tasks.one_hot, attention)


def base_and_novel_logits(
    model: GraphMethod, out: MethodOutput
) -> Float[Tensor, "Q num_base_classes_and_way"]:
    """Return the logits of base and novel classes, for one softmax over both.

    Args:
        model: a model created by `attention_attractor` or `attention_weight_generator`.
        out: the model's output for an episode.

    Returns:
        `[Q, num_base_classes + max(way)]`, base classes first.

    Raises:
        InvalidInputError: if the model is another method.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> encoder = gf.backbones.identity(8)
        >>> model = gf.create("attention_attractor", encoder=encoder, num_base_classes=10)
        >>> gf.methods.base_and_novel_logits(model, model(episode)).shape
        torch.Size([2, 12])
    """
    layers = model.layers.children()
    layer = next((layer for layer in layers if isinstance(layer, BaseClassLayer)), None)
    if layer is None:
        raise InvalidInputError(
            "the model has no base classes; base_and_novel_logits needs a model created by "
            "attention_attractor or attention_weight_generator"
        )
    graph = out.graphs[-1]
    items = graph.nodes[: len(graph.episode.y)]
    base_logits = layer.base_logits(items[graph.episode.query])
    return torch.cat([base_logits, out.logits], dim=1)
