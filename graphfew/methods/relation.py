"""Relation networks: a learned score of a class node and a query."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import relation_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import RowNorm
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits


class RelationModule(nn.Module):
    """Edges `[E, 1]` from classes to queries: the score of a network of the concatenated pair."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new edges to queries; edges to classes do not change."""
        topology = graph.topology
        # Edges are sorted by receiver, so edges into queries come before those into class nodes.
        num_query_edges = int(topology.ptr[len(graph.episode.y)])
        senders = topology.senders[:num_query_edges]
        receivers = topology.receivers[:num_query_edges]
        classes = graph.nodes.index_select(0, senders)
        queries = graph.nodes.index_select(0, receivers)
        scores: Tensor = self.net(torch.cat([classes, queries], dim=1))
        return graph.replace(edges=torch.cat([scores, graph.edges[num_query_edges:]]))


def vector_relation_net(dim: int, width: int, hidden: int) -> nn.Sequential:
    """Build a relation network of feature vectors, `[P, 2 dim] -> [P, 1]`."""
    return nn.Sequential(
        nn.Linear(2 * dim, width),
        RowNorm(width, 0.0),
        nn.Linear(width, width),
        RowNorm(width, 0.0),
        *_score_layers(width, hidden),
    )


def conv_relation_net(dim: int, channels: int, width: int, hidden: int) -> nn.Sequential:
    """Build the paper's relation network of flattened feature maps, `[P, 2 dim] -> [P, 1]`.

    Raises:
        InvalidInputError: if the features are not square maps of that many channels, or the maps
            are smaller than 4 pixels.
    """
    side = math.isqrt(dim // channels)
    if side * side * channels != dim or side < 4:
        raise InvalidInputError(
            f"features of width {dim} are not {channels} square maps of at least 4x4 pixels; pass "
            "the encoder's number of channels, or omit channels to use feature vectors"
        )
    conv_layers: list[nn.Module] = []
    for in_channels in (2 * channels, width):
        conv_layers += [
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    net = nn.Sequential(
        nn.Unflatten(1, (2 * channels, side, side)),
        *conv_layers,
        nn.Flatten(),
        # Two poolings divide the side by 4.
        *_score_layers(width * (side // 4) ** 2, hidden),
    )
    # He initialization by fan-out, as in the published code.
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (9 * layer.out_channels)))
    return net


def _score_layers(width: int, hidden: int) -> list[nn.Module]:
    return [nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1)]


@register_method(paper="Sung et al. 2018", loss=relation_loss)
def relation(
    encoder: nn.Module, *, dim: int, channels: int | None = None, width: int = 64, hidden: int = 8
) -> GraphMethod:
    """Relation network: a learned score of each query and each class mean.

    Formula:
        c_k = mean_{y_i = k} x_i
        logit_qk = net([c_k ; x_q]),  its sigmoid is the relation

    Args:
        encoder: `[N, ...] -> [N, dim]`; `relation_conv` in the paper, whose maps have 64 channels.
        dim: output width of the encoder.
        channels: channels of the features, which are flattened square maps; the relation network
            is then convolutional, as in the paper. None uses an MLP of feature vectors.
        width: channels of the two blocks of the relation network.
        hidden: hidden units before the score.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `relation_loss`. The logits
        are the relation scores before the sigmoid.

    Raises:
        InvalidInputError: if `channels` does not fit `dim`; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("relation", encoder=gf.backbones.identity(8))
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Sung, Yang, Zhang, Xiang, Torr, Hospedales, 2018, Learning to Compare: Relation Network for
        Few-Shot Learning.

    Deviations:
        Evaluation uses running batch statistics (the published code normalizes over the balanced
        test batch, so that its predictions depend on other queries). Class nodes are means (sums in
        the published code, which tie a trained network to one shot). The scores use torch's
        initialization (a bias of 1 in the published code). The MLP is an addition.
    """
    if channels is None:
        net = vector_relation_net(dim, width, hidden)
    else:
        net = conv_relation_net(dim, channels, width, hidden)
    return GraphMethod(
        encoder,
        class_mean_graph,
        [RelationModule(net)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("relation"),
    )
