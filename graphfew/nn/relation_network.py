"""A relation network over all pairs of supports, as messages on their complete graph."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode

PAIRS_PER_CHUNK = 2**16


class RelationNetwork(nn.Module):
    """Message passing on the complete graph of the supports: an MLP of every ordered pair.

    Every support receives the mean of the messages of all supports of its task, itself included.

    Formula:
        r_i = W₃ mean_j relu(W₂ relu(W₁ [x_i ; x_j]))

    Args:
        in_channels: width of the supports.
        width: width of both hidden layers and of the result.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.relation_network import RelationNetwork
        >>> supports = gf.Episode.context(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]), way=2)
        >>> RelationNetwork(3, 8)(supports).shape
        torch.Size([4, 8])
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.pair = nn.Linear(2 * in_channels, width, bias=False)
        self.hidden = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        for layer in (self.pair, self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, supports: Episode) -> Float[Tensor, "S C"]:
        """Return the new features of the supports, `[S, width]`, for tasks without queries."""
        # The first layer is linear in both ends: one product per support instead of one per pair.
        receiver_weight, sender_weight = self.pair.weight.chunk(2, dim=1)
        as_receiver = F.linear(supports.x, receiver_weight)
        as_sender = F.linear(supports.x, sender_weight)
        ends = torch.cat([as_receiver, as_sender], dim=1)
        topology = complete_graph(supports.sizes, supports.x.device)
        messages = topology.apply_edges(self._message, ends, chunk_size=PAIRS_PER_CHUNK)
        n_supports = torch.tensor(supports.sizes, device=messages.device)[supports.task]
        mean = topology.sum(messages) / n_supports[:, None]
        # The last layer is linear, so it may follow the mean.
        out: Tensor = self.output(mean)
        return out

    def _message(self, receivers: Tensor, senders: Tensor) -> Tensor:
        width = self.hidden.in_features
        pair = receivers[:, :width] + senders[:, width:]
        out: Tensor = self.hidden(pair.relu()).relu()
        return out
