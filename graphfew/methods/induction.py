"""Induction networks: supports vote on their class node by dynamic routing; a tensor relates it to the queries."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, update_class_nodes, update_query_edges
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import relation_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits

TINY = 1e-12


def squash(x: Tensor) -> Tensor:
    """`x` shrunk along its last axis to the length `‖x‖² / (1 + ‖x‖²)`."""
    square = x.square().sum(-1, keepdim=True)
    return x * square / ((1 + square) * (square + TINY).sqrt())


class Routing(nn.Module):
    """Class nodes `[M, dim]` from their supports, weighted in rounds by agreement with the class node so far."""

    def __init__(self, dim: int, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.transform = nn.Linear(dim, dim)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new class nodes."""
        return graph.replace(nodes=update_class_nodes(graph, self._route))

    def _route(self, tasks: DenseBatch) -> Tensor:
        member = tasks.one_hot.mT > 0
        votes = squash(self.transform(tasks.x))
        agreement = torch.zeros_like(tasks.one_hot.mT)
        classes = agreement
        for _ in range(self.rounds):
            share = agreement.masked_fill(~member, -torch.inf).softmax(dim=2)
            classes = squash(torch.bmm(share, votes))
            agreement = agreement + torch.bmm(classes, votes.mT)
        return classes


class TensorRelation(nn.Module):
    """Edges `[E, 1]` from classes to queries: `w · ReLU(cᵀ M_k q)_k + b`, whose sigmoid is the relation."""

    def __init__(self, dim: int, slices: int) -> None:
        super().__init__()
        self.tensor = nn.Parameter(torch.randn(slices, dim, dim) / math.sqrt(dim))
        self.score = nn.Linear(slices, 1)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new edges; those from supports to classes stay."""
        return graph.replace(edges=update_query_edges(graph, self._relate))

    def _relate(self, tasks: DenseBatch) -> Tensor:
        assert tasks.class_nodes is not None
        groups, way, dim = tasks.class_nodes.shape
        seen = torch.einsum("gcf,kfe->gcke", tasks.class_nodes, self.tensor).reshape(
            groups, -1, dim
        )
        slices = torch.bmm(tasks.x, seen.mT).relu().view(groups, tasks.x.shape[1], way, -1)
        out: Tensor = self.score(slices).squeeze(3)
        return out


@register_method(paper="Geng et al. 2019", loss=relation_loss)
def induction(encoder: nn.Module, *, dim: int, rounds: int = 3, slices: int = 100) -> GraphMethod:
    """Class nodes by dynamic routing over their supports, related to queries by a neural tensor layer.

    Formula:
        e_i = squash(W x_i + b),  squash(v) = ‖v‖² / (1 + ‖v‖²) · v / ‖v‖,  a_ki = 0 at first
        c_k = squash(Σ_i softmax_i(a_ki) e_i) over the supports i of class k,  a_ki ← a_ki + c_kᵀ e_i,  rounds times
        logit_qk = w · ReLU(c_kᵀ M_1 x_q, …, c_kᵀ M_h x_q) + b,  h = slices

    Args:
        encoder: `[N, ...] -> [N, dim]`; the paper's is a bidirectional LSTM with self-attention (`bilstm`).
        dim: the encoder's output width.
        rounds: of routing.
        slices: of the tensor.

    Train with `relation_loss`. The logits are the scores before the sigmoid.

    Raises:
        ValueError: a task with unlabeled nodes, or fewer than one round.

    Source: Geng, Li, Li, Zhu, Jian, Sun, 2019, Induction Networks for Few-Shot Text Classification.

    Deviations: the loss is a mean over pairs (theirs a sum); trained by whatever optimizer is given (theirs Adagrad).
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; give at least 1")
    layers = [Routing(dim, rounds), TensorRelation(dim, slices)]
    return GraphMethod(
        encoder,
        class_mean_graph,
        layers,
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("induction"),
    )
