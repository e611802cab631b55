"""Transductive propagation networks: labels spread in closed form over a graph whose widths are learned."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, map_to_edges, map_to_node_scores
from graphfew.core.graph import Graph
from graphfew.methods.losses import labeled_node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.label_graphs import labeled_graph
from graphfew.nn.layers import RowNorm
from graphfew.nn.method import GraphMethod, Layer
from graphfew.nn.readout import node_logits
from graphfew.ops.magnitude import clamp_magnitude
from graphfew.propagation.affinity import knn_mask, squared_distances, symmetric_normalize

# No width that was learned comes near exp(30), and beyond exp(88) a float32 holds none.
WIDEST = 30.0


class Width(nn.Module):
    """A length `[N, 1]` for each node: √dim times the exponential of a small network, which begins near 0."""

    def __init__(self, dim: int, channels: int | None, hidden: int) -> None:
        super().__init__()
        flat, blocks = (dim, _rows(dim)) if channels is None else _maps(dim, channels)
        last = nn.Linear(hidden, 1)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.unit = math.sqrt(dim)
        self.net = nn.Sequential(*blocks, nn.Linear(flat, hidden), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """`x [N, dim]` to `[N, 1]`."""
        out: Tensor = self.unit * self.net(x).clamp(-WIDEST, WIDEST).exp()
        return out


def _rows(dim: int) -> list[nn.Module]:
    return [nn.Linear(dim, dim), RowNorm(dim, 0.0)]


def _maps(dim: int, channels: int) -> tuple[int, list[nn.Module]]:
    side = math.isqrt(dim // channels)
    if side * side * channels != dim:
        raise ValueError(
            f"features of {dim} numbers are not {channels} square maps; give the encoder's number of "
            f"channels, or leave channels out"
        )
    blocks: list[nn.Module] = [nn.Unflatten(1, (channels, side, side))]
    for inputs, outputs in ((channels, 64), (64, 1)):
        blocks += [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        ]
    return math.ceil(side / 4) ** 2, [*blocks, nn.Flatten()]


class Kernel(nn.Module):
    """Edges `exp(-½ ‖x_i/σ_i - x_j/σ_j‖²)` between nodes of which one is among the other's k nearest, else 0."""

    def __init__(self, width: nn.Module, k: int) -> None:
        super().__init__()
        self.width = width
        self.k = k

    def forward(self, graph: Graph) -> Graph:
        """The graph with new edges `[E, 1]`."""
        scaled = clamp_magnitude(graph.nodes / self.width(graph.nodes))
        return graph.replace(edges=map_to_edges(graph.episode.encode(lambda _: scaled), self._near))

    def _near(self, tasks: DenseBatch) -> Tensor:
        distance = squared_distances(tasks.x, tasks.x)
        near = knn_mask(distance.detach(), self.k)
        return ((-distance / 2).exp() * (near | near.mT))[..., None]


def spread(alpha: float) -> Callable[[Graph], Graph]:
    """A layer that puts `(I - αS)⁻¹ Y` in the place of the nodes, S the edges normalized on both sides."""

    def layer(graph: Graph) -> Graph:
        return graph.replace(nodes=map_to_node_scores(graph, lambda tasks: _spread(tasks, alpha)))

    return layer


def _spread(tasks: DenseBatch, alpha: float) -> Tensor:
    assert tasks.edges is not None
    near = alpha * symmetric_normalize(tasks.edges[..., 0])
    scores: Tensor = torch.linalg.solve(
        torch.eye(near.shape[1], dtype=near.dtype, device=near.device) - near, tasks.one_hot
    )
    return scores


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
    """Label spreading in closed form, trained end to end: each node's kernel width is learned from its features.

    Formula:
        W_ij = exp(-½ ‖x_i/σ_i - x_j/σ_j‖²) where one is among the other's k nearest, else 0
        σ_i = √dim · exp(net(x_i)),  a length for each node
        S = D^-½ W D^-½,  F = (I - αS)⁻¹ Y
        logit_qk = F_qk

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        k: nearest neighbors of a node, itself not counted.
        alpha: share of a node's label that comes from its neighbors, in `(0, 1)`.
        channels: the features are so many square maps, flattened, and convolutions find the width, as in the paper;
            None takes a hidden layer over rows.
        hidden: units before the width.
        transductive: all queries of a task in one graph, or one graph per query.

    Train with `known_nodes_loss`.

    Raises:
        ValueError: alpha outside `(0, 1)`, k below 1, or features that are no such maps.

    Source: Liu, Lee, Park, Kim, Kim, Yang, 2019, Learning to Propagate Labels: Transductive Propagation Network for
    Few-Shot Learning.

    Deviations: the network gives the width's logarithm, in units of √dim (theirs the width itself, which may cross
    zero), so that the start fits features of unit size; no self-loops, and k others (the code counts the node itself);
    no small number is added to every entry of what is inverted, as the code does.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    if k < 1:
        raise ValueError(f"k is {k}; a node needs at least 1 neighbor")
    layers: list[Layer] = [Kernel(Width(dim, channels, hidden), k), spread(alpha)]
    return GraphMethod(encoder, labeled_graph, layers, node_logits, transductive=transductive)
