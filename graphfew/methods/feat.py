"""FEAT: class nodes that look at each other before queries are compared with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.checks import labelled_only
from graphfew.dense import Dense, solve_classes
from graphfew.graph import Graph
from graphfew.layers import Metric, squared_euclidean
from graphfew.methods.prototypical import Compare, embed
from graphfew.model import GraphMethod
from graphfew.readout import from_classes


class Adapt(nn.Module):
    """Class nodes `[M, dim]` after one head of self-attention over the classes of their task, added to themselves."""

    def __init__(self, dim: int, p: float) -> None:
        super().__init__()
        self.ask, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(p)
        self.norm = nn.LayerNorm(dim)
        # Small at first, so that training begins at prototypes of normalised features.
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new class nodes."""
        return graph.replace(nodes=solve_classes(graph, self._attend))

    def _attend(self, tasks: Dense) -> Tensor:
        assert tasks.classes is not None
        classes = tasks.classes
        scores = torch.bmm(self.ask(classes), self.key(classes).mT) / math.sqrt(classes.shape[2])
        heard = torch.bmm(scores.softmax(dim=2), self.value(classes))
        out: Tensor = self.norm(classes + self.dropout(self.out(heard)))
        return out


def feat(encoder: nn.Module, *, dim: int, p: float = 0.5, metric: Metric = squared_euclidean, scale: float = 1.0,
         learn_scale: bool = False) -> GraphMethod:
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
        ValueError: a task with unlabelled nodes.

    Source: Ye, Hu, Zhan, Sha, 2020, Few-Shot Learning via Embedding Adaptation with Set-to-Set Functions.

    Deviations: without the contrastive term of its loss; the map after the attention begins near zero; the temperature
    is a factor on the distance, 1 at first (theirs divides it by 16 to 64, chosen per data set).
    """
    layers = [Adapt(dim, p), Compare(metric, scale, learn_scale=learn_scale)]
    return GraphMethod(encoder, embed, layers, from_classes, transductive=False, independent=True,
                       check=labelled_only("feat"))
