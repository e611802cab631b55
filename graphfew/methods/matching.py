"""Matching networks: queries attend to the supports and sum their labels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Layers, Metric, cosine
from graphfew.nn.method import GraphMethod, Layer
from graphfew.nn.predictors import AttentionPredictor, FittedContext, sorted_supports
from graphfew.nn.prototypes import ScaledMetric, support_query_graph
from graphfew.nn.readout import log_class_votes


def attention_edges(graph: Graph) -> Graph:
    """Normalize the edges by a softmax over the supports of each query."""
    return graph.replace(edges=graph.topology.softmax(graph.edges))


def fit_attention(layers: Layers, context: Episode) -> FittedContext:
    """Collect the supports that queries attend to."""
    layer = layers[0]
    assert isinstance(layer, ScaledMetric)
    supports = sorted_supports(context, layer.metric, layer.scale.item())
    return FittedContext(AttentionPredictor(supports))


class SupportContext(nn.Module):
    """Supports `g(x) = x + h→ + h←`, a bidirectional LSTM over a task's supports in node order."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new support nodes."""
        episode = graph.episode
        support = torch.nonzero(episode.labeled).flatten()
        task = episode.task[support]
        counts = torch.bincount(task, minlength=episode.n_tasks)
        first = counts.cumsum(0) - counts
        position = torch.arange(len(support), device=task.device) - first[task]
        x = graph.nodes[support]
        # Sequences of mixed length: pad to [tasks, longest, F], pack, and read back by position.
        padded = x.new_zeros(episode.n_tasks, int(counts.max()), x.shape[1])
        padded = padded.index_put((task, position), x)
        packed = pack_padded_sequence(padded, counts.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        forward_state, backward_state = states[task, position].chunk(2, dim=1)
        nodes = graph.nodes.index_copy(0, support, x + forward_state + backward_state)
        return graph.replace(nodes=nodes)


class QueryContext(nn.Module):
    """Queries `h ← LSTM(x, [h ; r]) + x`, where `r` is the attention-weighted mean of supports."""

    def __init__(self, dim: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        # An LSTM with input x and state [h ; r] equals one with input [x ; r] and state h, since
        # both only enter through a sum of linear layers.
        self.cell = nn.LSTMCell(2 * dim, dim)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new query nodes."""
        topology = graph.topology
        query = torch.nonzero(graph.episode.query).flatten()
        x = graph.nodes[query]
        x_weight, read_weight = self.cell.weight_ih.chunk(2, dim=1)
        # The contribution of x to the gates is the same in every step. The linear layer of r
        # commutes with its weighted mean, so it is applied to the few supports once.
        x_gates = F.linear(x, x_weight, self.cell.bias_ih + self.cell.bias_hh)
        support = torch.nonzero(graph.episode.labeled).flatten()
        support_gates = graph.nodes.new_zeros(len(graph.nodes), len(read_weight))
        support_gates = support_gates.index_copy(
            0, support, F.linear(graph.nodes[support], read_weight)
        )
        hidden, cell = x, torch.zeros_like(x)
        for _ in range(self.steps):
            scores = topology.inner_products(graph.nodes.index_copy(0, query, hidden))
            attention = topology.softmax(scores)
            read_gates = topology.propagate(attention, support_gates)[query]
            gates = x_gates + read_gates + F.linear(hidden, self.cell.weight_hh)
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
            cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
            hidden = output_gate.sigmoid() * cell.tanh() + x
        return graph.replace(nodes=graph.nodes.index_copy(0, query, hidden))


@register_method(paper="Vinyals et al. 2016", loss=node_loss)
def matching(
    encoder: nn.Module,
    *,
    dim: int | None = None,
    metric: Metric = cosine,
    scale: float = 1.0,
    learn_scale: bool = False,
) -> GraphMethod:
    """Matching networks: attention to the supports by similarity, summed over each class.

    Formula:
        a_qi = softmax_i(scale · cos(x_q, x_i)),  over the supports
        logit_qk = log Σ_{y_i = k} a_qi

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`, such as `cosine` (as in the paper) or
            `squared_euclidean`.
        scale: factor on the similarity; 1 in the paper, but cosine trains better with about 10.
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
        >>> model = gf.create("matching", encoder=gf.backbones.identity(8), scale=10.0)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, 2016, Matching Networks for One Shot
        Learning; the learned scale: Oreshkin, Rodríguez, Lacoste, 2018, TADAM.

    Deviations:
        None at the default scale.
    """
    del dim
    layers: list[Layer] = [ScaledMetric(metric, scale, learn_scale=learn_scale), attention_edges]
    return GraphMethod(
        encoder,
        support_query_graph,
        layers,
        log_class_votes,
        transductive=False,
        independent_queries=True,
        check=require_labeled("matching"),
        fit_context=fit_attention,
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
    """Matching networks with full context embeddings of supports and queries.

    The LSTM reads the supports in node order, so the order can change predictions; `Tasks` draws
    supports in random order.

    Formula:
        g_i = x_i + h→_i + h←_i,  a bidirectional LSTM over the supports
        r = Σ_i softmax_i(hᵀ g_i) g_i,  h ← LSTM(x_q, [h ; r]) + x_q,  steps times, from h = x_q
        a_qi = softmax_i(scale · cos(h, g_i)),  logit_qk = log Σ_{y_i = k} a_qi

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder and of the LSTMs.
        steps: number of times a query attends to the supports.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`.
        scale: factor on the similarity.
        learn_scale: train the factor.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `steps` is below 1; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("matching_fce", encoder=gf.backbones.identity(8), steps=2)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, 2016, Matching Networks for One Shot
        Learning.

    Deviations:
        None from the formulas. The initial state of a query, which the paper leaves open, is the
        query itself.
    """
    if steps < 1:
        raise InvalidInputError(
            f"steps must be at least 1, got {steps}; use matching for no context embeddings"
        )
    layers: list[Layer] = [
        SupportContext(dim),
        QueryContext(dim, steps),
        ScaledMetric(metric, scale, learn_scale=learn_scale),
        attention_edges,
    ]
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
