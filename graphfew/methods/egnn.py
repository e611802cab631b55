"""EGNN: edge-labeling graph neural network."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph, Topology
from graphfew.methods.losses import edge_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import RowNorm, blocks, dropout
from graphfew.nn.method import GraphMethod
from graphfew.nn.pair_mlp import PairMLP, pairs, pairs_into, short
from graphfew.nn.readout import log_class_votes

SMOOTH = 1e-6


class EgnnLayer(nn.Module):
    """One update of the nodes from the edges, then of the edges from the nodes.

    With edges `e [E, 2]` (similarity, dissimilarity) whose self-loops are masked, and `ẽ` their rows normalized to 1:
    `v_i ← f_v([v_i ; Σ_j ẽ_ij1 v_j ; Σ_j ẽ_ij2 v_j])`, then `s_ij = σ(f_e(|v_i - v_j|))` gates the edges,
    `e_ijd ← g_ijd e_ijd / Σ_k g_ikd e_ikd · Σ_k e_ikd` with `g = (s, 1 - s)`; self-loops become (1, 0), every entry
    gets 1e-6 more, and the two channels of an edge are normalized to sum to 1.

    Args:
        in_dim: width of the incoming nodes.
        width: width of the outgoing nodes.
        p: dropout probability in both networks, in training.
        pull: begin as a metric (`start_as_metric`) that draws nodes this much to those like them; None begins with
            torch's initial weights.
    """

    def __init__(
        self, in_dim: int, width: int = 96, p: float = 0.0, *, pull: float | None = None
    ) -> None:
        super().__init__()
        self.node_net = nn.Sequential(
            *blocks((3 * in_dim, 2 * width, width), bias=False), *dropout(p)
        )
        widths = (width, 2 * width, 2 * width, width, width)
        steps = [
            step
            for pair in itertools.pairwise(widths)
            for step in (*blocks(pair, bias=False), *dropout(p))
        ]
        self.edge_net = PairMLP(*steps, nn.Linear(width, 1))
        if pull is not None:
            start_as_metric(self, pull)

    def forward(self, graph: Graph) -> Graph:
        """Nodes `[N, in_dim]` and edges `[E, 2]` to nodes `[N, width]` and edges `[E, 2]`."""
        edges, nodes = self._nodes(graph)
        same = pairs(graph.topology, self.edge_net, nodes, loops=0.0).sigmoid()
        return graph.replace(nodes=nodes, edges=_gate(graph.topology, same, edges))

    def forward_to_queries(self, graph: Graph) -> Graph:
        """As `forward`, on the edges into queries alone where these are few."""
        if not short(graph, self.edge_net):
            return self.forward(graph)
        topology, own = graph.topology.select_receivers(graph.episode.query)
        edges, nodes = self._nodes(graph)
        same = pairs_into(topology, self.edge_net, nodes, loops=0.0).sigmoid()
        return graph.replace(
            nodes=nodes, edges=_gate(topology, same, edges[own]), topology=topology
        )

    def _nodes(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """The edges without self-loops, and the new nodes."""
        topology = graph.topology
        edges = graph.edges.masked_fill(topology.is_self_loop[:, None], 0.0)
        mixed = topology.propagate(topology.normalize(edges), graph.nodes)
        return edges, self.node_net(torch.cat([graph.nodes, mixed], dim=1))


def _gate(topology: Topology, same: Tensor, edges: Tensor) -> Tensor:
    """The edges `[E, 2]` after the gate `(s, 1 - s)`; a self-loop has no edge to be gated."""
    gate = torch.cat([same, 1 - same], dim=1)
    shared = topology.normalize(gate * edges) * topology.broadcast(topology.sum(edges))
    shared = (
        shared
        + torch.stack([topology.is_self_loop, torch.zeros_like(topology.is_self_loop)], dim=1)
        + SMOOTH
    )
    return shared / shared.sum(1, keepdim=True)


@torch.no_grad()
def start_as_metric(layer: EgnnLayer, pull: float, noise: float = 0.1, shift: float = 3.0) -> None:
    """Initial weights with which nodes keep their features, and similarity falls with the nodes' L1 distance.

    The node network's first map is `±R (v_i + pull Σ_j ẽ_ij1 v_j)`, R with random orthonormal rows so that batch norm
    finds channels of like variance, and its second adds the two halves up again; `noise` is the share of torch's
    initial weights that stays. The edge network's weights are positive, but for the last ones, which are negative.
    Biases of `shift` standard deviations keep the activations from cutting what passes.
    """
    first, second = (m for m in layer.node_net if isinstance(m, nn.Linear))
    width, dim = second.out_features, first.in_features // 3
    rank = min(width, dim)
    basis = nn.init.orthogonal_(first.weight.new_empty(rank, dim))
    halves = torch.cat([torch.eye(rank), -torch.eye(rank)], dim=1)
    first.weight[: 2 * rank] *= noise
    first.weight[: 2 * rank, : 2 * dim] += halves.T @ torch.cat([basis, pull * basis], dim=1)
    second.weight[:rank] *= noise
    second.weight[:rank, : 2 * rank] += halves
    [*_, last] = (m for m in layer.node_net if isinstance(m, RowNorm))
    last.norm.bias[:rank] = shift
    *hidden, output = (m for m in layer.edge_net if isinstance(m, nn.Linear))
    for linear in hidden:
        linear.weight.abs_()
    output.weight.abs_().neg_()
    for norm in (m for m in layer.edge_net if isinstance(m, RowNorm)):
        norm.norm.bias.fill_(shift)


def first_edges(episode: Episode, topology: Topology, like: Tensor) -> Tensor:
    """Edges `[E, 2]` from the labels: (1, 0) where two known labels agree and on self-loops, (0, 1) where they differ,
    (½, ½) where one is unknown."""
    a, b = episode.y[topology.receivers], episode.y[topology.senders]
    similar = torch.where((a < 0) | (b < 0), 0.5, (a == b).to(like.dtype))
    similar = similar.to(like.dtype).masked_fill(topology.is_self_loop, 1.0)
    return torch.stack([similar, 1 - similar], dim=1)


def embed(episode: Episode) -> Graph:
    """The complete graph of each task: encoded items as nodes, labels in the edges alone."""
    topology = complete_graph(episode.sizes, episode.x.device)
    return Graph(episode.x, first_edges(episode, topology, episode.x), topology, episode)


@register_method(paper="Kim et al. 2019", loss=edge_loss, transductive=True, unlabeled=True)
def egnn(
    encoder: nn.Module,
    *,
    dim: int,
    layers: int = 3,
    width: int = 96,
    p: float = 0.0,
    pull: float | None = 0.5,
    transductive: bool = True,
) -> GraphMethod:
    """Edge-labeling graph neural network: labels live on edges, and layers refine them; any way, any shot.

    Formula:
        v_i ← f_v([v_i ; Σ_j ẽ_ij1 v_j ; Σ_j ẽ_ij2 v_j]),  ẽ without self-loops, rows of sum 1
        s_ij = σ(f_e(|v_i - v_j|)),  g_ij = (s_ij, 1 - s_ij)
        e_ijd ← g_ijd e_ijd / Σ_k g_ikd e_ikd · Σ_k e_ikd,  then e_ii = (1, 0), and e_ij1 + e_ij2 = 1
        logit_qk = log Σ_{y_j = k} e_qj1

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        layers: number of layers.
        width: width of nodes after the first layer.
        p: dropout probability in all layers but the last.
        pull: begin as nearest neighbors of the encoder's features, each node drawn this much to those like it from the
            second layer on; None has torch's initial weights, with which the layers scramble the features, and learning
            must find them again.
        transductive: all queries of a task in one graph, or one graph per query.

    Train with `edge_loss`. How training queries are drawn decides what a transductive model learns: with exactly one
    query per class it learns that queries exclude each other, and fails where they do not.

    Source: Kim, Kim, Kim, Yoo, 2019, Edge-Labeling Graph Neural Network for Few-shot Learning.

    Deviations: the initial weights, unless `pull` is None; batch statistics of the edge network are those of
    distinct pairs (self-loops, which no output depends on, are never computed); dropout drops single entries, not whole
    channels of a task; only labeled supports vote (the published code lets hidden ones vote); the logits are the
    logarithm of the votes; self-loops are (1, 0) in the first graph throughout (they are masked).
    """
    widths = [dim] + [width] * layers
    # In the first layer nothing is known yet of which nodes are alike.
    pulls = [0.0 if n == 0 and pull is not None else pull for n in range(layers)]
    steps = [
        EgnnLayer(widths[n], width, p if n < layers - 1 else 0.0, pull=pulls[n])
        for n in range(layers)
    ]
    return GraphMethod(encoder, embed, steps, log_class_votes, transductive=transductive)
