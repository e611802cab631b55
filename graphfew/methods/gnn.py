"""GNN: few-shot learning with graph neural networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_way
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import RowNorm, blocks, dropout
from graphfew.nn.method import GraphMethod
from graphfew.nn.pair_mlp import PairMLP, pairs, pairs_into, short
from graphfew.nn.readout import node_logits, one_hot

MASKED = -1e8


class Adjacency(nn.Module):
    """Edges `[E, 1]`: the softmax over senders of a network of `|x_i - x_j|`, self-loops masked.

    Args:
        in_dim: node width.
        widths: widths of the four hidden layers.
        p: dropout probability after the first, in training.
        first: it reads the items themselves, so that copies of an item in several graphs are alike.
    """

    def __init__(
        self, in_dim: int, widths: Sequence[int], p: float = 0.0, *, first: bool = False
    ) -> None:
        super().__init__()
        self.first = first
        begin, rest = blocks((in_dim, widths[0]), bias=True), blocks(widths, bias=True)
        self.net = PairMLP(*begin, *dropout(p), *rest, nn.Linear(widths[-1], 1))

    def forward(self, graph: Graph) -> Graph:
        """The graph with new edges `[E, 1]`, each receiver's summing to 1."""
        origin = graph.episode.origin if self.first else None
        logits = pairs(graph.topology, self.net, graph.nodes, loops=MASKED, origin=origin)
        return graph.replace(edges=graph.topology.softmax(logits))

    def into_queries(self, graph: Graph) -> Graph:
        """As `forward`, on the edges into queries alone; for a frozen network."""
        topology, _ = graph.topology.select_receivers(graph.episode.query)
        logits = pairs_into(topology, self.net, graph.nodes, loops=MASKED)
        return graph.replace(edges=topology.softmax(logits), topology=topology)


class GraphConvolution(nn.Module):
    """`[x ; Ã x]` through a linear map, and batch norm where `norm` is true: nodes `[N, in_dim] -> [N, out_dim]`."""

    def __init__(self, in_dim: int, out_dim: int, *, norm: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * in_dim, out_dim)
        self.norm = RowNorm(out_dim) if norm else nn.Identity()

    def forward(self, graph: Graph) -> Tensor:
        """New node values `[N, out_dim]`."""
        mixed = graph.topology.propagate(graph.edges, graph.nodes)
        out: Tensor = self.norm(self.linear(torch.cat([graph.nodes, mixed], dim=1)))
        return out


class GnnBlock(nn.Module):
    """New edges, then `x ← [x ; LeakyReLU(convolution)]`."""

    def __init__(self, adjacency: Adjacency, convolution: GraphConvolution) -> None:
        super().__init__()
        self.adjacency = adjacency
        self.convolution = convolution
        self.activation = nn.LeakyReLU()

    def forward(self, graph: Graph) -> Graph:
        """Nodes `[N, F]` to `[N, F + growth]`."""
        graph = self.adjacency(graph)
        return graph.replace(
            nodes=torch.cat([graph.nodes, self.activation(self.convolution(graph))], dim=1)
        )


class GnnOutput(nn.Module):
    """New edges, then a convolution to logits."""

    def __init__(self, adjacency: Adjacency, convolution: GraphConvolution) -> None:
        super().__init__()
        self.adjacency = adjacency
        self.convolution = convolution

    def forward(self, graph: Graph) -> Graph:
        """Nodes `[N, F]` to `[N, way]`."""
        graph = self.adjacency(graph)
        return graph.replace(nodes=self.convolution(graph))

    def forward_to_queries(self, graph: Graph) -> Graph:
        """As `forward`, with the rows of queries alone right where they are few."""
        if not short(graph, self):
            return self.forward(graph)
        graph = self.adjacency.into_queries(graph)
        return graph.replace(nodes=self.convolution(graph))


def embed(episode: Episode) -> Graph:
    """The complete graph of each task; nodes `[φ(x) ; label]`, with the uniform label where it is unknown."""
    topology = complete_graph(episode.sizes, episode.x.device)
    way = max(episode.way)
    label = one_hot(episode, episode.x) + (~episode.labeled)[:, None].to(episode.x.dtype) / way
    edges = episode.x.new_zeros(len(topology.receivers), 1)
    return Graph(torch.cat([episode.x, label], dim=1), edges, topology, episode)


@register_method(
    paper="Garcia, Bruna 2018",
    loss=node_loss,
    transductive=True,
    fixed_way=True,
    unlabeled=True,
    class_order_matters=True,
)
def gnn(
    encoder: nn.Module,
    *,
    dim: int,
    way: int = 5,
    depth: int = 2,
    growth: int = 48,
    width: int | None = 96,
    ratios: Sequence[float] = (2, 2, 1, 1),
    p: float = 0.0,
    output_norm: bool = False,
    transductive: bool = False,
) -> GraphMethod:
    """Graph neural network with label fields in the nodes and an adjacency learned anew before each convolution.

    Formula:
        x_i = [φ_i ; h_i],  φ_i the features, h_i the one-hot label, 1/way everywhere where it is unknown
        Ã_ij = softmax_{j ≠ i} MLP(|x_i - x_j|),  anew in every block
        x ← [x ; LeakyReLU(BN(W [x ; Ã x]))],  depth times
        logit_q = (W [x ; Ã x])_q

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        way: classes per task; the output layer has this size, so training and test way are equal.
        depth: dense blocks before the output block.
        growth: features that each block adds.
        width: base width of the adjacency networks; None takes the width of each block's nodes (the last block reuses
            the width before), as the paper's Omniglot model does.
        ratios: hidden widths over the base width; the Omniglot model has (2, 1.5, 1, 1).
        p: dropout probability in the output block's adjacency; 0.3 in the Omniglot model.
        output_norm: batch norm on the logits; true in the Omniglot model.
        transductive: all queries of a task in one graph; the paper has one graph per query.

    Train with `node_loss`.

    Raises:
        ValueError: a task of another way.

    Source: Garcia, Bruna, 2018, Few-Shot Learning with Graph Neural Networks.

    Deviations: unknown labels are uniform as in the paper (its code has zeros); the transductive form is ours. Batch
    statistics of the adjacency are those of distinct pairs.
    """
    dims = [dim + way + growth * n for n in range(depth + 1)]
    bases = [width] * len(dims) if width else [*dims[:-1], dims[max(depth - 1, 0)]]
    hidden = [tuple(int(r * base) for r in ratios) for base in bases]
    steps: list[nn.Module] = [
        GnnBlock(Adjacency(d, h, first=n == 0), GraphConvolution(d, growth))
        for n, (d, h) in enumerate(zip(dims[:-1], hidden[:-1], strict=True))
    ]
    last = GnnOutput(
        Adjacency(dims[-1], hidden[-1], p), GraphConvolution(dims[-1], way, norm=output_norm)
    )
    return GraphMethod(
        encoder,
        embed,
        [*steps, last],
        node_logits,
        transductive=transductive,
        check=require_way("gnn", way),
    )
