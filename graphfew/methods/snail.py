"""SNAIL: attention and dilated temporal convolutions over a chain of supports and one query."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.graph import Graph
from graphfew.core.support_batch import SupportBatch, map_to_query_scores
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import combine_checks, require_labeled, require_shot, require_way
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import node_logits
from graphfew.nn.sequence_graphs import causal_graph


@dataclasses.dataclass(frozen=True, eq=False)
class QuerySequences:
    """One sequence per query: the supports of its task, then the query.

    Layers are causal, so the features of the supports are the same in all sequences of a task, and
    are computed once.

    Attributes:
        supports: `[G, S, F]`.
        queries: `[G, Q, F]`, the last items of the sequences.
    """

    supports: Float[Tensor, "G S F"]
    queries: Float[Tensor, "G Q F"]

    def append(self, supports: Tensor, queries: Tensor) -> QuerySequences:
        """Return the sequences with more features."""
        return QuerySequences(
            torch.cat([self.supports, supports], dim=2), torch.cat([self.queries, queries], dim=2)
        )


class CausalAttention(nn.Module):
    """Append to each item its attention to itself and to all earlier items."""

    def __init__(self, in_dim: int, key_size: int, value_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(in_dim, key_size)
        self.key = nn.Linear(in_dim, key_size)
        self.value = nn.Linear(in_dim, value_size)

    def forward(self, x: QuerySequences) -> QuerySequences:
        """Map items `[..., F]` to `[..., F + value_size]`."""
        scale = self.key.out_features**-0.5
        keys, values = self.key(x.supports), self.value(x.supports)
        scores = scale * torch.bmm(self.query(x.supports), keys.mT)
        is_later = torch.ones_like(scores[0], dtype=torch.bool).triu(1)
        # The softmax is over the keys of each item.
        weights = scores.masked_fill(is_later, -torch.inf).softmax(dim=2)
        supports = torch.bmm(weights, values)

        query, own_value = self.query(x.queries), self.value(x.queries)
        own_score = (query * self.key(x.queries)).sum(2, keepdim=True)
        scores = scale * torch.cat([torch.bmm(query, keys.mT), own_score], dim=2)
        weights = scores.softmax(dim=2)
        queries = torch.bmm(weights[:, :, :-1], values) + weights[:, :, -1:] * own_value
        return x.append(supports, queries)


class DenseBlock(nn.Module):
    """Append to each item `tanh(conv) · sigmoid(conv)` of it and the item `dilation` before it."""

    def __init__(self, in_dim: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.current = nn.Linear(in_dim, 2 * filters)
        self.past = nn.Linear(in_dim, 2 * filters, bias=False)

    def forward(self, x: QuerySequences) -> QuerySequences:
        """Map items `[..., F]` to `[..., F + filters]`."""
        n_supports = x.supports.shape[1]
        # Before the start of a sequence there are zeros.
        padded = F.pad(self.past(x.supports), (0, 0, self.dilation, 0))
        # A query follows the last support, so its past item is that of position `n_supports`.
        supports = self.current(x.supports) + padded[:, :n_supports]
        queries = self.current(x.queries) + padded[:, n_supports : n_supports + 1]
        return x.append(_gated(supports), _gated(queries))


def _gated(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=2)
    return value.tanh() * gate.sigmoid()


class SequenceNetwork(nn.Module):
    """Attention, then temporal convolutions and attention twice, then logits of the last item."""

    def __init__(
        self,
        in_dim: int,
        way: int,
        length: int,
        filters: int,
        attention_sizes: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        # Dilations 1, 2, 4, … until the last item depends on the first.
        dilations = [2**i for i in range(math.ceil(math.log2(length)))]
        layers: list[nn.Module] = []
        for number, (key_size, value_size) in enumerate(attention_sizes):
            if number > 0:
                for dilation in dilations:
                    layers.append(DenseBlock(in_dim, filters, dilation))
                    in_dim += filters
            layers.append(CausalAttention(in_dim, key_size, value_size))
            in_dim += value_size
        self.net = nn.Sequential(*layers)
        self.output = nn.Linear(in_dim, way)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with logits of the queries as nodes."""
        return graph.replace(nodes=map_to_query_scores(graph.episode, self._predict))

    def _predict(self, batch: SupportBatch) -> Tensor:
        # The label of a query is zero.
        queries = F.pad(batch.queries, (0, batch.one_hot.shape[2]))
        supports = torch.cat([batch.supports, batch.one_hot], dim=2)
        sequences: QuerySequences = self.net(QuerySequences(supports, queries))
        logits: Tensor = self.output(sequences.queries)
        return logits


@register_method(
    paper="Mishra et al. 2018",
    loss=node_loss,
    fixed_way=True,
    fixed_shot=True,
    class_order_matters=True,
    node_order_matters=True,
)
def snail(
    encoder: nn.Module,
    *,
    dim: int,
    way: int = 5,
    shot: int = 1,
    filters: int = 128,
    attention_sizes: Sequence[Sequence[int]] = ((64, 32), (256, 128), (512, 256)),
) -> GraphMethod:
    """Attention and temporal convolutions over the sequence of all supports and one query.

    A causal graph: supports in node order receive from themselves and all earlier ones, queries
    from all supports. No query depends on another. The classes of a task need a random order, as
    `Tasks` draws them.

    Formula:
        x_t = [φ_t, one-hot y_t],  y = 0 for the query, t = 1 … T,  T = way · shot + 1
        attention: x_t ← [x_t, Σ_{s ≤ t} softmax_s(q_tᵀ k_s / √d) v_s],  d the size of a key
        block of dilation δ: x_t ← [x_t, tanh(a_t) ⊙ sigmoid(b_t)],  a, b = U x_t + V x_{t-δ} + c
        attention → blocks → attention → blocks → attention,  logit_q = W x_T + b
        blocks: one of each dilation 1, 2, 4, … below T

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        way: number of classes; tasks in training and evaluation need the same.
        shot: supports per class; the number of blocks depends on it.
        filters: features that each block appends.
        attention_sizes: sizes of key and value of each attention layer; there are blocks between
            two of them.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if a number is below 1, or `attention_sizes` has no pairs; later, if a
            task has another number of classes or supports, or unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("snail", encoder=gf.backbones.identity(8), way=2, shot=2)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Mishra, Rohaninejad, Chen, Abbeel, 2018, A Simple Neural Attentive Meta-Learner.

    Deviations:
        Features of the supports are computed once per task and not once per query, which changes
        no value, because all layers are causal. Dilations start at 1, so that blocks cover the
        whole sequence; with a start at 2, as in a public port, neighbors are never compared and
        the last dilation reaches beyond the sequence. Not copied from that port: its softmax is
        over the queries of the attention instead of the keys; labels are the rank of the classes'
        numbers instead of a random permutation; queries of 20-way tasks are only from 5 classes;
        batch norm of the encoder evaluates with the statistics of the last batch; and its image
        network drops 90 % of the features.
    """
    sizes = [tuple(pair) for pair in attention_sizes]
    if not sizes or any(len(pair) != 2 for pair in sizes):
        raise InvalidInputError(
            f"attention_sizes must be pairs of key and value size, got {attention_sizes}"
        )
    smallest = min(way, shot, filters, *(size for pair in sizes for size in pair))
    if smallest < 1:
        raise InvalidInputError(f"the arguments of snail must be at least 1, got {smallest}")
    return GraphMethod(
        encoder,
        causal_graph,
        [SequenceNetwork(dim + way, way, way * shot + 1, filters, sizes)],
        node_logits,
        transductive=False,
        independent_queries=True,
        check=combine_checks(
            require_labeled("snail"), require_way("snail", way), require_shot("snail", shot)
        ),
        node_order_matters=True,
    )
