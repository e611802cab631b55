"""FEAT: prototypes adapted to the task by self-attention over its classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, update_class_nodes
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Metric, squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import ScaledMetric, class_mean_graph
from graphfew.nn.readout import class_node_logits


class PrototypeAttention(nn.Module):
    """Residual single-head self-attention over the class nodes `[M, dim]` of each task."""

    def __init__(self, dim: int, p: float) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(p)
        self.norm = nn.LayerNorm(dim)
        # Nearly zero, so that training starts from prototypes of normalized features.
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes."""
        return graph.replace(nodes=update_class_nodes(graph, self._attend))

    def _attend(self, tasks: DenseBatch) -> Tensor:
        assert tasks.class_nodes is not None
        classes = tasks.class_nodes
        # Classes attend to each other, and to themselves; queries are not involved.
        scores = torch.bmm(self.query(classes), self.key(classes).mT)
        attention = (scores / math.sqrt(classes.shape[2])).softmax(dim=2)
        context = torch.bmm(attention, self.value(classes))
        out: Tensor = self.norm(classes + self.dropout(self.out(context)))
        return out


@register_method(paper="Ye et al. 2020", loss=node_loss)
def feat(
    encoder: nn.Module,
    *,
    dim: int,
    p: float = 0.5,
    metric: Metric = squared_euclidean,
    scale: float = 1.0,
    learn_scale: bool = False,
) -> GraphMethod:
    """Prototypes adapted to their task by self-attention over the classes.

    Formula:
        C ← LayerNorm(C + W_o softmax(C W_q (C W_k)ᵀ / √F) C W_v),  row c_k of C the class mean
        logit_qk = scale · s(x_q, c_k),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, dim]`; pretrained as a classifier or with prototypes.
        dim: output width of the encoder.
        p: dropout probability of the attention output.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`.
        scale: factor on the similarity.
        learn_scale: train the factor.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("feat", encoder=gf.backbones.identity(8))
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Ye, Hu, Zhan, Sha, 2020, Few-Shot Learning via Embedding Adaptation with Set-to-Set
        Functions.

    Deviations:
        The contrastive term of the loss is omitted. The linear layer after the attention is
        initialized near zero. The temperature is a factor on the distance, initially 1 (the
        published code divides by 16 to 64, chosen per data set).
    """
    layers = [PrototypeAttention(dim, p), ScaledMetric(metric, scale, learn_scale=learn_scale)]
    return GraphMethod(
        encoder,
        class_mean_graph,
        layers,
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("feat"),
    )
