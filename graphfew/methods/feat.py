"""FEAT: class nodes that look at each other before queries are compared with them."""

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


class Adapt(nn.Module):
    """Class nodes `[M, dim]` after one head of self-attention over the classes of their task, added to themselves."""

    def __init__(self, dim: int, p: float) -> None:
        super().__init__()
        self.ask, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(p)
        self.norm = nn.LayerNorm(dim)
        # Small at first, so that training begins at prototypes of normalized features.
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new class nodes."""
        return graph.replace(nodes=update_class_nodes(graph, self._attend))

    def _attend(self, tasks: DenseBatch) -> Tensor:
        assert tasks.class_nodes is not None
        classes = tasks.class_nodes
        scores = torch.bmm(self.ask(classes), self.key(classes).mT) / math.sqrt(classes.shape[2])
        heard = torch.bmm(scores.softmax(dim=2), self.value(classes))
        out: Tensor = self.norm(classes + self.dropout(self.out(heard)))
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
    """Prototypes adapted to their task by self-attention over the classes; queries stay as they are.

    Formula:
        C ← LayerNorm(C + W_o softmax(C W_q (C W_k)ᵀ / √F) C W_v),  row k of C the mean of class k's supports
        logit_qk = scale · s(x_q, c_k),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, dim]`; trained before, as a classifier or with prototypes.
        dim: the encoder's output width.
        p: dropout on what the attention adds.
        metric, scale, learn_scale: as `prototypical` has them.

    Train with `node_loss`.

    Raises:
        ValueError: a task with unlabeled nodes.

    Source: Ye, Hu, Zhan, Sha, 2020, Few-Shot Learning via Embedding Adaptation with Set-to-Set Functions.

    Deviations: without the contrastive term of its loss; the map after the attention begins near zero; the temperature
    is a factor on the distance, 1 at first (theirs divides it by 16 to 64, chosen per data set).
    """
    layers = [Adapt(dim, p), ScaledMetric(metric, scale, learn_scale=learn_scale)]
    return GraphMethod(
        encoder,
        class_mean_graph,
        layers,
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("feat"),
    )
