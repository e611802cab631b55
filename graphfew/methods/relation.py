"""Relation networks: a learned score of a class node and a query."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import relation_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import RowNorm
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits


class Relate(nn.Module):
    """Edges `[E, 1]` from classes to queries: a network of the two side by side, whose sigmoid is the relation."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, graph: Graph) -> Graph:
        """The graph with new edges; those from supports to classes stay."""
        topology = graph.topology
        asked = int(topology.ptr[len(graph.episode.y)])
        ends = (
            graph.nodes.index_select(0, index[:asked])
            for index in (topology.senders, topology.receivers)
        )
        scores: Tensor = self.net(torch.cat(list(ends), dim=1))
        return graph.replace(edges=torch.cat([scores, graph.edges[asked:]]))


def rows_net(dim: int, width: int, hidden: int) -> nn.Sequential:
    """The relation module on rows: `[P, 2 dim] -> [P, 1]`."""
    return nn.Sequential(
        nn.Linear(2 * dim, width),
        RowNorm(width, 0.0),
        nn.Linear(width, width),
        RowNorm(width, 0.0),
        *_scores(width, hidden),
    )


def maps_net(dim: int, channels: int, width: int, hidden: int) -> nn.Sequential:
    """The paper's relation module on maps, flattened: `[P, 2 dim] -> [P, 1]`.

    Raises:
        ValueError: features that are no square maps of that many channels, or maps under 4 pixels wide.
    """
    side = math.isqrt(dim // channels)
    if side * side * channels != dim or side < 4:
        raise ValueError(
            f"features of {dim} numbers are not {channels} square maps of 4x4 pixels or more; give the "
            f"encoder's number of channels, or leave channels out to relate rows"
        )
    blocks = [
        layer
        for inputs in (2 * channels, width)
        for layer in (
            nn.Conv2d(inputs, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
    ]
    net = nn.Sequential(
        nn.Unflatten(1, (2 * channels, side, side)),
        *blocks,
        nn.Flatten(),
        *_scores(width * (side // 4) ** 2, hidden),
    )
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (9 * layer.out_channels)))
    return net


def _scores(width: int, hidden: int) -> list[nn.Module]:
    return [nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1)]


@register_method(paper="Sung et al. 2018", loss=relation_loss)
def relation(
    encoder: nn.Module, *, dim: int, channels: int | None = None, width: int = 64, hidden: int = 8
) -> GraphMethod:
    """A network scores each query beside each class, the mean of its supports; no metric is given.

    Formula:
        c_k = mean_{y_i = k} x_i
        logit_qk = net([c_k ; x_q]),  of which the sigmoid is the relation

    Args:
        encoder: `[N, ...] -> [N, dim]`; the paper's is `relation_conv`, whose maps have 64 channels.
        dim: the encoder's output width.
        channels: the features are so many square maps, flattened, and convolutions relate them, as in the paper;
            None relates rows of features by two hidden layers.
        width, hidden: channels of the relation module's two blocks, and units before its score.

    Train with `relation_loss`. The logits are the scores before the sigmoid.

    Raises:
        ValueError: features that are no such maps; later, a task with unlabeled nodes.

    Source: Sung, Yang, Zhang, Xiang, Torr, Hospedales, 2018, Learning to Compare: Relation Network for Few-Shot
    Learning.

    Deviations: evaluation uses running batch statistics (the published code normalizes over the test's own balanced
    batches, so that its queries see each other); class nodes are means (theirs are sums, so that a network trained on
    one number of shots fits no other); the scores begin as torch starts them (theirs at a bias of 1); rows are ours.
    """
    net = (
        rows_net(dim, width, hidden) if channels is None else maps_net(dim, channels, width, hidden)
    )
    return GraphMethod(
        encoder,
        class_mean_graph,
        [Relate(net)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("relation"),
    )
