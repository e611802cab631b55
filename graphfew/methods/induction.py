"""Induction networks: class nodes by dynamic routing, scored by a neural tensor layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, update_class_nodes, update_query_edges
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import relation_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits

EPSILON = 1e-12


def squash(x: Tensor) -> Tensor:
    """Scale `x [..., F]` along its last axis to the length `‖x‖² / (1 + ‖x‖²)`."""
    squared_norm = x.square().sum(-1, keepdim=True)
    # The epsilon keeps the gradient of the square root finite at x = 0.
    return x * squared_norm / ((1 + squared_norm) * (squared_norm + EPSILON).sqrt())


class DynamicRouting(nn.Module):
    """Class nodes `[M, dim]` from their supports, weighted iteratively by their agreement."""

    def __init__(self, dim: int, num_iterations: int) -> None:
        super().__init__()
        self.num_iterations = num_iterations
        self.transform = nn.Linear(dim, dim)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes."""
        return graph.replace(nodes=update_class_nodes(graph, self._route))

    def _route(self, tasks: DenseBatch) -> Tensor:
        is_member = tasks.one_hot.mT > 0
        predictions = squash(self.transform(tasks.x))
        routing_logits = torch.zeros_like(tasks.one_hot.mT)
        classes = routing_logits
        for _ in range(self.num_iterations):
            # Each class is routed from its own supports only.
            coupling = routing_logits.masked_fill(~is_member, -torch.inf).softmax(dim=2)
            classes = squash(torch.bmm(coupling, predictions))
            routing_logits = routing_logits + torch.bmm(classes, predictions.mT)
        return classes


class NeuralTensorRelation(nn.Module):
    """Edges `[E, 1]` from classes to queries: `w · ReLU(cᵀ M_k q)_k + b`, a logit."""

    def __init__(self, dim: int, num_slices: int) -> None:
        super().__init__()
        self.tensor = nn.Parameter(torch.randn(num_slices, dim, dim) / math.sqrt(dim))
        self.score = nn.Linear(num_slices, 1)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new edges to queries; edges to classes do not change."""
        return graph.replace(edges=update_query_edges(graph, self._relation_logits))

    def _relation_logits(self, tasks: DenseBatch) -> Tensor:
        assert tasks.class_nodes is not None
        groups, way, dim = tasks.class_nodes.shape
        # One matmul for all classes and slices: cᵀ M_k are the rows of `projected`.
        projected = torch.einsum("gcf,kfe->gcke", tasks.class_nodes, self.tensor)
        # `[G, n, way · slices]`.
        products = torch.bmm(tasks.x, projected.reshape(groups, -1, dim).mT)
        slices = products.relu().view(groups, tasks.x.shape[1], way, -1)
        out: Tensor = self.score(slices).squeeze(3)
        return out


@register_method(paper="Geng et al. 2019", loss=relation_loss)
def induction(
    encoder: nn.Module, *, dim: int, num_iterations: int = 3, num_slices: int = 100
) -> GraphMethod:
    """Induction networks: dynamic routing of supports to class nodes, and a neural tensor layer.

    Formula:
        e_i = squash(W x_i + b),  squash(v) = ‖v‖² / (1 + ‖v‖²) · v / ‖v‖,  a_ki = 0 initially
        c_k = squash(Σ_i softmax_i(a_ki) e_i) over the supports i of class k
        a_ki ← a_ki + c_kᵀ e_i,  num_iterations times
        logit_qk = w · ReLU(c_kᵀ M_1 x_q, …, c_kᵀ M_h x_q) + b,  h = num_slices

    Args:
        encoder: `[N, ...] -> [N, dim]`; a bidirectional LSTM with self-attention (`bilstm`) in
            the paper.
        dim: output width of the encoder.
        num_iterations: routing iterations.
        num_slices: slices of the relation tensor.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `relation_loss`. The logits
        are the relation scores before the sigmoid.

    Raises:
        InvalidInputError: if `num_iterations` is below 1; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("induction", encoder=gf.backbones.identity(8), num_slices=4)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Geng, Li, Li, Zhu, Jian, Sun, 2019, Induction Networks for Few-Shot Text Classification.

    Deviations:
        The loss is a mean over pairs (a sum in the paper), and any optimizer can train it (Adagrad
        in the paper).
    """
    if num_iterations < 1:
        raise InvalidInputError(f"num_iterations must be at least 1, got {num_iterations}")
    layers = [DynamicRouting(dim, num_iterations), NeuralTensorRelation(dim, num_slices)]
    return GraphMethod(
        encoder,
        class_mean_graph,
        layers,
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("induction"),
    )
