"""Matching networks: attention from each query to the supports, whose labels it shares out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Metric, cosine
from graphfew.nn.method import GraphMethod, Layer
from graphfew.nn.prototypes import ScaledMetric, support_query_graph
from graphfew.nn.readout import log_class_votes


def attend(graph: Graph) -> Graph:
    """Edges as shares that sum to 1 over each query's supports."""
    return graph.replace(edges=graph.topology.softmax(graph.edges))


class SupportContext(nn.Module):
    """Supports `g(x) = x + h→ + h←` from an LSTM that reads a task's supports in both directions, in node order."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new support nodes."""
        episode = graph.episode
        support = torch.nonzero(episode.labeled).flatten()
        task = episode.task[support]
        shots = torch.bincount(task, minlength=episode.n_tasks)
        place = torch.arange(len(support), device=task.device) - (shots.cumsum(0) - shots)[task]
        x = graph.nodes[support]
        rows = x.new_zeros(episode.n_tasks, int(shots.max()), x.shape[1]).index_put(
            (task, place), x
        )
        packed = pack_padded_sequence(rows, shots.cpu(), batch_first=True, enforce_sorted=False)
        heard, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        forth, back = heard[task, place].chunk(2, dim=1)
        return graph.replace(nodes=graph.nodes.index_copy(0, support, x + forth + back))


class QueryContext(nn.Module):
    """Queries that read the supports `steps` times: `h ← LSTM(f, [h ; r], c) + f`, r the supports under attention."""

    def __init__(self, dim: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        # Weights for f and r side by side are those of an LSTM of f with the state [h ; r].
        self.cell = nn.LSTMCell(2 * dim, dim)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new query nodes."""
        query = torch.nonzero(graph.episode.query).flatten()
        first = graph.nodes[query]
        state, memory = first, torch.zeros_like(first)
        of_query, of_read = self.cell.weight_ih.chunk(2, dim=1)
        # What a query is multiplied with is the same in every step, and what it reads is a mean of few supports: both
        # products are taken once.
        constant = F.linear(first, of_query, self.cell.bias_ih + self.cell.bias_hh)
        support = torch.nonzero(graph.episode.labeled).flatten()
        readable = graph.nodes.new_zeros(len(graph.nodes), len(of_read))
        readable = readable.index_copy(0, support, F.linear(graph.nodes[support], of_read))
        for _ in range(self.steps):
            share = graph.topology.softmax(
                graph.topology.inner_products(graph.nodes.index_copy(0, query, state))
            )
            read = graph.topology.propagate(share, readable)[query]
            into, keep, new, out = (constant + read + F.linear(state, self.cell.weight_hh)).chunk(
                4, dim=1
            )
            memory = keep.sigmoid() * memory + into.sigmoid() * new.tanh()
            state = out.sigmoid() * memory.tanh() + first
        return graph.replace(nodes=graph.nodes.index_copy(0, query, state))


@register_method(paper="Vinyals et al. 2016", loss=node_loss)
def matching(
    encoder: nn.Module,
    *,
    dim: int | None = None,
    metric: Metric = cosine,
    scale: float = 1.0,
    learn_scale: bool = False,
) -> GraphMethod:
    """Attention over the supports by similarity; a class has the sum of its supports' shares.

    Formula:
        a_qi = softmax_i(scale · cos(x_q, x_i)),  over the supports
        logit_qk = log Σ_{y_i = k} a_qi

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: unused; every method takes it.
        metric: `cosine` (the paper's), `squared_euclidean`, or any similarity `([P, F], [P, F]) -> [P, 1]`.
        scale: factor on the similarity; the paper has none, and cosine learns far better with about 10.
        learn_scale: train the factor.

    Raises:
        ValueError: a task with unlabeled nodes.

    Source: Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, 2016, Matching Networks for One Shot Learning; the
    learned scale: Oreshkin, Rodríguez, Lacoste, 2018, TADAM.

    Deviations: none at the default scale.
    """
    del dim
    layers: list[Layer] = [ScaledMetric(metric, scale, learn_scale=learn_scale), attend]
    return GraphMethod(
        encoder,
        support_query_graph,
        layers,
        log_class_votes,
        transductive=False,
        independent_queries=True,
        check=require_labeled("matching"),
    )


@register_method(paper="Vinyals et al. 2016", loss=node_loss, node_order_matters=True)
def matching_fce(
    encoder: nn.Module,
    *,
    dim: int,
    steps: int = 3,
    metric: Metric = cosine,
    scale: float = 1.0,
    learn_scale: bool = False,
) -> GraphMethod:
    """Matching networks with full context embeddings: supports read each other, queries read the supports.

    Formula:
        g_i = x_i + h→_i + h←_i,  a bidirectional LSTM over the supports
        r = Σ_i softmax_i(hᵀ g_i) g_i,  h ← LSTM(x_q, [h ; r]) + x_q,  steps times, from h = x_q
        a_qi = softmax_i(scale · cos(h, g_i)),  logit_qk = log Σ_{y_i = k} a_qi

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width, and that of the LSTMs.
        steps: times that a query reads the supports.
        metric, scale, learn_scale: as `matching` has them.

    The supports are read in node order, so that order may change an answer; tasks are drawn in random order.

    Raises:
        ValueError: a task with unlabeled nodes, or fewer than one step.

    Source: Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, 2016, Matching Networks for One Shot Learning.

    Deviations: none from the formulas; the first state of a query, which they leave open, is the query itself.
    """
    if steps < 1:
        raise ValueError(
            f"steps is {steps}; give at least 1, or use matching, which reads no context"
        )
    compare = ScaledMetric(metric, scale, learn_scale=learn_scale)
    layers: list[Layer] = [SupportContext(dim), QueryContext(dim, steps), compare, attend]
    return GraphMethod(
        encoder,
        support_query_graph,
        layers,
        log_class_votes,
        transductive=False,
        independent_queries=True,
        check=require_labeled("matching_fce"),
        node_order_matters=True,
    )
