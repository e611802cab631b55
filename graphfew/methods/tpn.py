"""Transductive propagation networks: label spreading on a graph with learned kernel widths."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, map_to_edges, map_to_node_scores
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods.losses import labeled_node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.label_graphs import complete_item_graph
from graphfew.nn.layers import RowNorm
from graphfew.nn.method import GraphMethod, Layer
from graphfew.nn.readout import node_logits
from graphfew.ops.magnitude import clamp_magnitude
from graphfew.propagation.affinity import knn_mask, squared_distances, symmetric_normalize
from graphfew.propagation.solvers import dense_propagation

# Learned log-widths stay far below this bound, and exp overflows float32 at 88.
MAX_LOG_WIDTH = 30.0


class KernelWidth(nn.Module):
    """Kernel width `[N, 1]` per node: √dim times the exponential of a network, at first near 0."""

    def __init__(self, dim: int, channels: int | None, hidden: int) -> None:
        super().__init__()
        if channels is None:
            flat_dim = dim
            first_layers: list[nn.Module] = [nn.Linear(dim, dim), RowNorm(dim, 0.0)]
        else:
            flat_dim, first_layers = _conv_layers(dim, channels)
        output = nn.Linear(hidden, 1)
        nn.init.normal_(output.weight, std=0.01)
        nn.init.zeros_(output.bias)
        self.unit = math.sqrt(dim)
        self.net = nn.Sequential(*first_layers, nn.Linear(flat_dim, hidden), nn.ReLU(), output)

    def forward(self, x: Tensor) -> Tensor:
        """Map features `[N, dim]` to widths `[N, 1]`."""
        log_width = self.net(x).clamp(-MAX_LOG_WIDTH, MAX_LOG_WIDTH)
        out: Tensor = self.unit * log_width.exp()
        return out


def _conv_layers(dim: int, channels: int) -> tuple[int, list[nn.Module]]:
    """Return the flattened output width and the convolutional layers on square feature maps."""
    side = math.isqrt(dim // channels)
    if side * side * channels != dim:
        raise InvalidInputError(
            f"features of width {dim} are not {channels} square maps; pass the encoder's number of "
            "channels, or omit channels to use feature vectors"
        )
    layers: list[nn.Module] = [nn.Unflatten(1, (channels, side, side))]
    for in_channels, out_channels in ((channels, 64), (64, 1)):
        layers += [
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        ]
    layers.append(nn.Flatten())
    # Two poolings with ceil_mode divide the side by 4, rounded up.
    return math.ceil(side / 4) ** 2, layers


class LearnedKernel(nn.Module):
    """Edges `exp(-½ ‖x_i/σ_i - x_j/σ_j‖²)` between k nearest neighbors, 0 elsewhere.

    An edge exists if either node is among the k nearest of the other.
    """

    def __init__(self, width: nn.Module, k: int) -> None:
        super().__init__()
        self.width = width
        self.k = k

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new edges `[E, 1]`."""
        # Tiny widths could overflow the squared distances.
        scaled = clamp_magnitude(graph.nodes / self.width(graph.nodes))
        episode = graph.episode.encode(lambda _: scaled)
        return graph.replace(edges=map_to_edges(episode, self._affinity))

    def _affinity(self, tasks: DenseBatch) -> Tensor:
        distance = squared_distances(tasks.x, tasks.x)
        # The selection of neighbors is not differentiable; gradients flow through the kernel.
        is_neighbor = knn_mask(distance.detach(), self.k)
        affinity = (-distance / 2).exp() * (is_neighbor | is_neighbor.mT)
        return affinity[..., None]


def spread_layer(alpha: float) -> Callable[[Graph], Graph]:
    """Return a layer that replaces the nodes by `(I - αS)⁻¹ Y`, `S` the normalized edges."""

    def scores(tasks: DenseBatch) -> Tensor:
        assert tasks.edges is not None
        operator = alpha * symmetric_normalize(tasks.edges[..., 0])
        return dense_propagation(operator, tasks.one_hot)

    def layer(graph: Graph) -> Graph:
        return graph.replace(nodes=map_to_node_scores(graph, scores))

    return layer


@register_method(paper="Liu et al. 2019", loss=labeled_node_loss, transductive=True, unlabeled=True)
def tpn(
    encoder: nn.Module,
    *,
    dim: int,
    k: int = 20,
    alpha: float = 0.99,
    channels: int | None = None,
    hidden: int = 8,
    transductive: bool = True,
) -> GraphMethod:
    """Transductive propagation network: label spreading trained end to end with learned widths.

    Formula:
        W_ij = exp(-½ ‖x_i/σ_i - x_j/σ_j‖²) if i or j is among the other's k nearest, else 0
        σ_i = √dim · exp(net(x_i)),  one width per node
        S = D^-½ W D^-½,  F = (I - αS)⁻¹ Y
        logit_qk = F_qk

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        k: nearest neighbors of a node, not counting itself.
        alpha: weight of the neighbors in a node's scores, in `(0, 1)`.
        channels: channels of the features, which are flattened square maps; the width network is
            then convolutional, as in the paper. None uses an MLP of feature vectors.
        hidden: hidden units of the width network.
        transductive: all queries of a task in one graph; otherwise one graph per query.

    Returns:
        A `GraphMethod` with logits `[Q, way]`, trained with `labeled_node_loss`.

    Raises:
        InvalidInputError: if `alpha` is outside `(0, 1)`, `k` is below 1, or `channels` does not
            fit `dim`.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("tpn", encoder=gf.backbones.identity(8))
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Liu, Lee, Park, Kim, Kim, Yang, 2019, Learning to Propagate Labels: Transductive Propagation
        Network for Few-Shot Learning.

    Deviations:
        The network predicts the logarithm of the width in units of √dim (the width itself in the
        paper, which can cross zero), so that the initialization fits features of unit scale. There
        are no self-loops, and `k` does not count the node itself (it does in the published code).
        No small constant is added to the matrix that is inverted, unlike in the code.
    """
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha must be between 0 and 1 (exclusive), got {alpha}")
    if k < 1:
        raise InvalidInputError(f"k must be at least 1, got {k}")
    layers: list[Layer] = [
        LearnedKernel(KernelWidth(dim, channels, hidden), k),
        spread_layer(alpha),
    ]
    return GraphMethod(encoder, complete_item_graph, layers, node_logits, transductive=transductive)
