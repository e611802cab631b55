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
from graphfew.nn.pair_mlp import PairMLP, pair_edges, query_edges_are_few, query_pair_edges
from graphfew.nn.readout import node_logits, one_hot

# Logit of self-loops: finite, so that a graph with a single node has a defined softmax.
LOOP_LOGIT = -1e8


class Adjacency(nn.Module):
    """Edges `[E, 1]`: softmax over senders of an MLP of `|x_i - x_j|`, with self-loops masked.

    Args:
        in_dim: node width.
        widths: widths of the four hidden layers.
        p: dropout probability after the first hidden layer, in training.
        first: whether the module reads the encoded items themselves. Copies of an item in several
            graphs are then equal, and their pairs are computed once.
    """

    def __init__(
        self, in_dim: int, widths: Sequence[int], p: float = 0.0, *, first: bool = False
    ) -> None:
        super().__init__()
        self.first = first
        first_block = blocks((in_dim, widths[0]), bias=True)
        other_blocks = blocks(widths, bias=True)
        output = nn.Linear(widths[-1], 1)
        self.net = PairMLP(*first_block, *dropout(p), *other_blocks, output)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new edges `[E, 1]`, which sum to 1 over each receiver's senders."""
        origin = graph.episode.origin if self.first else None
        logits = pair_edges(
            graph.topology, self.net, graph.nodes, self_loop_value=LOOP_LOGIT, origin=origin
        )
        return graph.replace(edges=graph.topology.softmax(logits))

    def into_queries(self, graph: Graph) -> Graph:
        """Compute `forward` on the edges into queries only, for a frozen network."""
        topology, _ = graph.topology.select_receivers(graph.episode.query)
        logits = query_pair_edges(topology, self.net, graph.nodes, self_loop_value=LOOP_LOGIT)
        return graph.replace(edges=topology.softmax(logits), topology=topology)


class GraphConvolution(nn.Module):
    """Linear layer of `[x ; Ã x]`, with optional batch norm: `[N, in_dim] -> [N, out_dim]`."""

    def __init__(self, in_dim: int, out_dim: int, *, norm: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * in_dim, out_dim)
        self.norm = RowNorm(out_dim) if norm else nn.Identity()

    def forward(self, graph: Graph) -> Tensor:
        """Return the new node values `[N, out_dim]`."""
        messages = graph.topology.propagate(graph.edges, graph.nodes)
        out: Tensor = self.norm(self.linear(torch.cat([graph.nodes, messages], dim=1)))
        return out


class GnnBlock(nn.Module):
    """Dense block: new edges, then `x ← [x ; LeakyReLU(convolution)]`."""

    def __init__(self, adjacency: Adjacency, convolution: GraphConvolution) -> None:
        super().__init__()
        self.adjacency = adjacency
        self.convolution = convolution
        self.activation = nn.LeakyReLU()

    def forward(self, graph: Graph) -> Graph:
        """Map nodes `[N, F]` to `[N, F + growth]`."""
        graph = self.adjacency(graph)
        new_features = self.activation(self.convolution(graph))
        return graph.replace(nodes=torch.cat([graph.nodes, new_features], dim=1))


class GnnOutput(nn.Module):
    """Output block: new edges, then a convolution to logits."""

    def __init__(self, adjacency: Adjacency, convolution: GraphConvolution) -> None:
        super().__init__()
        self.adjacency = adjacency
        self.convolution = convolution

    def forward(self, graph: Graph) -> Graph:
        """Map nodes `[N, F]` to `[N, way]`."""
        graph = self.adjacency(graph)
        return graph.replace(nodes=self.convolution(graph))

    def forward_to_queries(self, graph: Graph) -> Graph:
        """Compute `forward` with valid rows for queries only, if these are few."""
        if not query_edges_are_few(graph, self):
            return self.forward(graph)
        graph = self.adjacency.into_queries(graph)
        return graph.replace(nodes=self.convolution(graph))


def embed(episode: Episode) -> Graph:
    """Build the complete graph of each task, with nodes `[φ(x) ; label]`.

    An unknown label is uniform over the classes.
    """
    topology = complete_graph(episode.sizes, episode.x.device)
    way = max(episode.way)
    is_unknown = (~episode.labeled)[:, None].to(episode.x.dtype)
    label = one_hot(episode, episode.x) + is_unknown / way
    # A placeholder: every block computes its own adjacency.
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
    """Graph neural network with labels as node features and a learned adjacency per block.

    Formula:
        x_i = [φ_i ; h_i],  φ_i the features, h_i the one-hot label, 1/way everywhere if unknown
        Ã_ij = softmax_{j ≠ i} MLP(|x_i - x_j|),  computed again in every block
        x ← [x ; LeakyReLU(BN(W [x ; Ã x]))],  depth times
        logit_q = (W [x ; Ã x])_q

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        way: classes per task; it sets the size of the output layer, so tasks in training and
            evaluation need the same way.
        depth: number of dense blocks before the output block.
        growth: features that each block adds.
        width: base width of the adjacency MLPs. None uses the node width of each block (the last
            block uses that of the block before), as the paper's Omniglot model does.
        ratios: hidden widths relative to the base width; (2, 1.5, 1, 1) in the Omniglot model.
        p: dropout probability in the adjacency of the output block; 0.3 in the Omniglot model.
        output_norm: batch norm on the logits; true in the Omniglot model.
        transductive: all queries of a task in one graph; otherwise one graph per query, as in the
            paper.

    Returns:
        A `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: later, if a task has another way.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("gnn", encoder=gf.backbones.identity(8), way=2)
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Garcia, Bruna, 2018, Few-Shot Learning with Graph Neural Networks.

    Deviations:
        Unknown labels are uniform as in the paper (zeros in the published code). The transductive
        mode is an addition. Batch statistics of the adjacency are those of distinct pairs.
    """
    # Node width before each block, the output block included.
    dims = [dim + way + growth * index for index in range(depth + 1)]
    base_widths = [*dims[:-1], dims[max(depth - 1, 0)]]
    if width:
        base_widths = [width] * (depth + 1)
    hidden_widths = [tuple(int(ratio * base) for ratio in ratios) for base in base_widths]
    layers: list[nn.Module] = []
    for index in range(depth):
        # Only the first block sees the encoded items; later nodes differ between copies of a task.
        adjacency = Adjacency(dims[index], hidden_widths[index], first=index == 0)
        layers.append(GnnBlock(adjacency, GraphConvolution(dims[index], growth)))
    adjacency = Adjacency(dims[-1], hidden_widths[-1], p)
    convolution = GraphConvolution(dims[-1], way, norm=output_norm)
    layers.append(GnnOutput(adjacency, convolution))
    return GraphMethod(
        encoder,
        embed,
        layers,
        node_logits,
        transductive=transductive,
        check=require_way("gnn", way),
    )
