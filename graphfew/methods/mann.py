"""Memory-augmented neural networks: supports are written to memory slots that queries read."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.graph import Graph
from graphfew.core.support_batch import SupportBatch, map_to_query_scores
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import combine_checks, require_labeled, require_way
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.lstm_step import lstm_step
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import node_logits
from graphfew.nn.sequence_graphs import support_chain_graph

USAGE_DECAY = 0.95
# Not 0, so that the cosine similarity to an empty slot is defined.
EMPTY_SLOT = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class MemoryState:
    """State of a batch of sequences after a step.

    Attributes:
        memory: memory slots, `[B, slots, M]`.
        read_weights: attention of each head to the slots, `[B, heads, slots]`.
        usage: decayed sum of read and write weights, `[B, slots]`.
        read: what the heads have read, `[B, heads · M]`.
        hidden: output of the controller, `[B, H]`.
        cell: cell state of the controller, `[B, H]`.
    """

    memory: Float[Tensor, "B slots M"]
    read_weights: Float[Tensor, "B heads slots"]
    usage: Float[Tensor, "B slots"]
    read: Float[Tensor, "B heads_M"]
    hidden: Float[Tensor, "B H"]
    cell: Float[Tensor, "B H"]

    def repeat(self, n: int) -> MemoryState:
        """Return `n` copies of each sequence, next to each other."""
        tensors = (getattr(self, field.name) for field in dataclasses.fields(self))
        return MemoryState(*(tensor.repeat_interleave(n, dim=0) for tensor in tensors))


class MemoryNetwork(nn.Module):
    """An LSTM controller with an external memory that overwrites its least used slots."""

    def __init__(
        self, dim: int, way: int, width: int, num_slots: int, slot_width: int, num_heads: int
    ) -> None:
        super().__init__()
        self.num_slots = num_slots
        self.num_heads = num_heads
        n_read = num_heads * slot_width
        self.controller = nn.LSTMCell(dim + way + n_read, width)
        self.key = nn.Linear(width, n_read)
        self.content = nn.Linear(width, n_read)
        self.write_gate = nn.Linear(width, num_heads)
        self.output = nn.Linear(width + n_read, way)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with logits of the queries as nodes."""
        scores = map_to_query_scores(graph.episode, self._predict)
        return graph.replace(nodes=scores)

    def _predict(self, batch: SupportBatch) -> Tensor:
        supports = torch.cat([batch.supports, batch.one_hot], dim=2)
        state = self.start(supports)
        for item in supports.unbind(1):
            state = self.step(state, item)
        # Each query continues from a copy of the same state, so that it depends on no other.
        groups, n_queries, _ = batch.queries.shape
        queries = F.pad(batch.queries, (0, batch.one_hot.shape[2])).flatten(0, 1)
        state = self.step(state.repeat(n_queries), queries)
        logits: Tensor = self.output(torch.cat([state.hidden, state.read], dim=1))
        return logits.view(groups, n_queries, -1)

    def start(self, like: Tensor) -> MemoryState:
        """Return the state before the first support, for as many sequences as `like` has rows."""
        n = len(like)
        n_read, width = self.key.out_features, self.key.in_features
        first_slot = torch.arange(self.num_slots, device=like.device) == 0
        usage = first_slot.to(like.dtype).expand(n, -1)
        return MemoryState(
            memory=like.new_full((n, self.num_slots, n_read // self.num_heads), EMPTY_SLOT),
            read_weights=usage[:, None].expand(-1, self.num_heads, -1),
            usage=usage,
            read=like.new_zeros(n, n_read),
            hidden=like.new_zeros(n, width),
            cell=like.new_zeros(n, width),
        )

    def step(self, state: MemoryState, item: Float[Tensor, "B F"]) -> MemoryState:
        """Process one item of each sequence: write to the least used slots, then read."""
        inputs = torch.cat([item, state.read], dim=1)
        hidden, cell = lstm_step(self.controller, inputs, (state.hidden, state.cell))
        heads = (len(item), self.num_heads, -1)
        keys = self.key(hidden).tanh().view(heads)
        contents = self.content(hidden).tanh().view(heads)
        gate = self.write_gate(hidden).sigmoid().view(heads)
        # Stable, so that the first of equally unused slots is taken.
        by_usage = state.usage.detach().argsort(dim=1, stable=True)
        least_used = F.one_hot(by_usage[:, : self.num_heads], self.num_slots).to(item.dtype)
        write_weights = gate * state.read_weights + (1 - gate) * least_used
        erased = state.memory * (1 - least_used[:, 0, :, None])
        memory = torch.baddbmm(erased, write_weights.mT, contents)
        # Reading follows writing, so that an item can be found by itself.
        similarity = torch.bmm(F.normalize(keys, dim=2), F.normalize(memory, dim=2).mT)
        read_weights = similarity.softmax(dim=2)
        use = read_weights.sum(1) + write_weights.sum(1)
        return MemoryState(
            memory=memory,
            read_weights=read_weights,
            usage=USAGE_DECAY * state.usage + use,
            read=torch.bmm(read_weights, memory).flatten(1),
            hidden=hidden,
            cell=cell,
        )


@register_method(
    paper="Santoro et al. 2016",
    loss=node_loss,
    fixed_way=True,
    class_order_matters=True,
    node_order_matters=True,
)
def mann(
    encoder: nn.Module,
    *,
    dim: int,
    way: int = 5,
    width: int = 200,
    num_slots: int = 128,
    slot_width: int = 40,
    num_heads: int = 4,
) -> GraphMethod:
    """A recurrent network that writes the supports to an external memory and reads it for a query.

    A chain of support nodes in node order, whose end is connected to every query. The state of
    the chain are memory nodes, which a support writes to and reads from. All queries start from
    the state after the last support, and none depends on another. The classes of a task need a
    random order, as `Tasks` draws them.

    Formula:
        h, c = LSTM([x, one-hot y (0 for a query), r], h, c)
        k = tanh(W_k h),  a = tanh(W_a h),  σ = sigmoid(w_σ h),  per head
        w_w = σ w_r + (1 - σ) onehot(slot of lowest usage; the j-th lowest for head j)
        M ← M with the slot of lowest usage set to 0,  M ← M + Σ_heads w_w aᵀ
        w_r = softmax over slots of cos(k, M),  r = w_r M
        u ← 0.95 u + Σ_heads (w_r + w_w)
        logit_q = W_o [h; r] + b_o,  after the step of query q

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        way: number of classes; tasks in training and evaluation need the same.
        width: units of the LSTM.
        num_slots: number of memory slots.
        slot_width: numbers per memory slot.
        num_heads: number of heads, which read and write together.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if an argument is below 1, or there are fewer slots than heads; later,
            if a task has another number of classes or unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("mann", encoder=gf.backbones.identity(8), way=2, num_slots=8)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Santoro, Bartunov, Botvinick, Wierstra, Lillicrap, 2016, Meta-Learning with
        Memory-Augmented Neural Networks.

    Deviations:
        Episodes instead of a stream of 50 items: the loss is that of the queries (of every item in
        the paper), the label comes with its item (with the next one in the paper), and each query
        is predicted from the same state (in the paper every item changes the state of the next).
        Published accuracies are those at the n-th presentation of a class in the stream and are
        not comparable. The heads write a vector of their own (the key in the paper) and compute
        the gate from the controller (one learned number in the paper), as in the public
        implementation by Deleu. Not copied from public implementations: batches whose sequences
        share their classes; slots of highest usage taken for those of lowest; a sigmoid in place of
        the tanh of the LSTM; two softmaxes in a row.
    """
    smallest = min(way, width, num_slots, slot_width, num_heads)
    if smallest < 1:
        raise InvalidInputError(f"the arguments of mann must be at least 1, got {smallest}")
    if num_slots < num_heads:
        raise InvalidInputError(
            f"num_slots is {num_slots}, but each of {num_heads} heads writes to a slot of its own; "
            f"use num_slots of at least {num_heads}"
        )
    return GraphMethod(
        encoder,
        support_chain_graph,
        [MemoryNetwork(dim, way, width, num_slots, slot_width, num_heads)],
        node_logits,
        transductive=False,
        independent_queries=True,
        check=combine_checks(require_labeled("mann"), require_way("mann", way)),
        node_order_matters=True,
    )
