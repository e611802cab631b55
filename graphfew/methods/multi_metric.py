"""Several learned metrics, mixed anew for each task by how well each predicts its supports from one another."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, update_query_edges
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits

TINY = 1e-12


class Mixture(nn.Module):
    """Edges `[E, 1]` from classes to queries: `log Σ_k α_k P_k(class | query)`.

    `P_k` is attention to the supports by the cosine under map k; α maximizes the likelihood of the task's supports,
    each predicted from the others (expectation maximization from equal shares).
    """

    def __init__(self, dim: int, metrics: int, width: int, scale: float, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.maps = nn.Parameter(torch.randn(metrics, dim, width) / math.sqrt(dim))
        self.scale = nn.Parameter(torch.full((metrics,), float(scale)))

    def forward(self, graph: Graph) -> Graph:
        """The graph with new edges; those from supports to classes stay."""
        return graph.replace(edges=update_query_edges(graph, self._mix))

    def _mix(self, tasks: DenseBatch) -> Tensor:
        shares = self._shares(tasks)
        mixture = self._fit(shares, tasks.one_hot)
        return (mixture[:, :, None, None] * shares).sum(1).clamp_min(TINY).log()

    def _shares(self, tasks: DenseBatch) -> Tensor:
        """`[G, metrics, n, way]`: each node's classes, by its attention to the supports other than itself."""
        rows = F.normalize(torch.einsum("gnf,kfw->gknw", tasks.x, self.maps), dim=3)
        scores = self.scale[:, None, None] * (rows @ rows.mT)
        own = torch.eye(scores.shape[2], dtype=torch.bool, device=scores.device)
        heard = tasks.labeled[:, None, None] & ~own
        return scores.masked_fill(~heard, -torch.inf).softmax(dim=3) @ tasks.one_hot[:, None]

    def _fit(self, shares: Tensor, label: Tensor) -> Tensor:
        """`[G, metrics]`, rows that sum to 1."""
        right = (shares * label[:, None]).sum(3) + TINY
        known = label.sum(2)[:, None]
        mixture = torch.full_like(right[:, :, 0], 1 / right.shape[1])
        for _ in range(self.rounds):
            part = mixture[:, :, None] * right
            part = part / part.sum(1, keepdim=True) * known
            mixture = part.sum(2) / known.sum(2)
        return mixture


@register_method(paper="Yu et al. 2018", loss=node_loss)
def multi_metric(
    encoder: nn.Module,
    *,
    dim: int,
    metrics: int = 4,
    width: int = 64,
    scale: float = 10.0,
    rounds: int = 10,
) -> GraphMethod:
    """Matching under several learned metrics, mixed per task by how well each explains the task's own supports.

    Formula:
        P_m(k | x) = Σ_{y_i = k} softmax_i(scale_m · cos(W_m x, W_m x_i)),  over the supports other than x
        α = argmax Π_supports Σ_m α_m P_m(y_i | x_i),  Σ_m α_m = 1,  by rounds of expectation maximization
        logit_qk = log Σ_m α_m P_m(k | x_q)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        metrics: linear maps, each with a cosine and a scale of its own.
        width: what each maps to.
        scale: factor on the cosines, at first.
        rounds: of expectation maximization; 0 mixes all metrics equally.

    Train with `node_loss`. With one support per class no support can be predicted from the others of its class, and all
    metrics count alike.

    Raises:
        ValueError: fewer than one metric or negative rounds; later, a task with unlabeled nodes.

    Source: Yu, Guo, Yi, Chang, Potdar, Cheng, Tesauro, Wang, Zhou, 2018, Diverse Few-Shot Text Classification with
    Multiple Metrics.

    Deviations: the metrics share an encoder and are learned together through the mixture (theirs are one network per
    cluster of source tasks, clustered beforehand by how tasks transfer to each other); the mixture is fitted by leaving
    each support out.
    """
    if metrics < 1 or rounds < 0:
        raise ValueError(
            f"metrics is {metrics} and rounds {rounds}; give at least 1 metric, and 0 rounds or more"
        )
    return GraphMethod(
        encoder,
        class_mean_graph,
        [Mixture(dim, metrics, width, scale, rounds)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("multi_metric"),
    )
