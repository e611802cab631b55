"""EGNN: edge-labeling graph neural network."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.core.topology import Topology
from graphfew.methods.losses import edge_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import RowNorm, blocks, dropout
from graphfew.nn.method import GraphMethod
from graphfew.nn.pair_mlp import PairMLP, pair_edges, query_edges_are_few, query_pair_edges
from graphfew.nn.readout import log_class_votes

EPSILON = 1e-6


class EgnnLayer(nn.Module):
    """One EGNN layer: a node update from the edges, then an edge update from the nodes.

    Edges `e [E, 2]` are (similarity, dissimilarity). Self-loops are masked, and `ẽ` are the edges
    normalized to sum to 1 over each receiver's senders.

    Formula:
        v_i ← f_v([v_i ; Σ_j ẽ_ij1 v_j ; Σ_j ẽ_ij2 v_j])
        s_ij = σ(f_e(|v_i - v_j|)),  g = (s, 1 - s)
        e_ijd ← g_ijd e_ijd / Σ_k g_ikd e_ikd · Σ_k e_ikd;  self-loops become (1, 0)
        every entry gains 1e-6, and the two channels of an edge are normalized to sum to 1

    Args:
        in_dim: width of the input nodes.
        width: width of the output nodes.
        p: dropout probability in both networks, in training.
        pull: if given, `init_as_metric` sets the initial weights, and neighbors are added to each
            node with this weight; None uses torch's initialization.
    """

    def __init__(
        self, in_dim: int, width: int = 96, p: float = 0.0, *, pull: float | None = None
    ) -> None:
        super().__init__()
        self.node_net = nn.Sequential(
            *blocks((3 * in_dim, 2 * width, width), bias=False), *dropout(p)
        )
        edge_layers: list[nn.Module] = []
        for widths in itertools.pairwise((width, 2 * width, 2 * width, width, width)):
            edge_layers += [*blocks(widths, bias=False), *dropout(p)]
        self.edge_net = PairMLP(*edge_layers, nn.Linear(width, 1))
        if pull is not None:
            init_as_metric(self, pull)

    def forward(self, graph: Graph) -> Graph:
        """Map nodes `[N, in_dim]` and edges `[E, 2]` to nodes `[N, width]` and edges `[E, 2]`."""
        edges, nodes = self._update_nodes(graph)
        # The edge MLP reads |v_i - v_j|, so it is computed once per unordered pair.
        similarity = pair_edges(graph.topology, self.edge_net, nodes, self_loop_value=0.0).sigmoid()
        edges = _gate_edges(graph.topology, similarity, edges)
        return graph.replace(nodes=nodes, edges=edges)

    def forward_to_queries(self, graph: Graph) -> Graph:
        """Compute `forward` on the edges into queries only, if these are few."""
        if not query_edges_are_few(graph, self.edge_net):
            return self.forward(graph)
        topology, edge_index = graph.topology.select_receivers(graph.episode.query)
        edges, nodes = self._update_nodes(graph)
        similarity = query_pair_edges(topology, self.edge_net, nodes, self_loop_value=0.0).sigmoid()
        edges = _gate_edges(topology, similarity, edges[edge_index])
        return graph.replace(nodes=nodes, edges=edges, topology=topology)

    def _update_nodes(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Return the edges without self-loops, and the new nodes."""
        topology = graph.topology
        edges = graph.edges.masked_fill(topology.is_self_loop[:, None], 0.0)
        # Both edge channels aggregate: similar and dissimilar neighbors, concatenated.
        messages = topology.propagate(topology.normalize(edges), graph.nodes)
        return edges, self.node_net(torch.cat([graph.nodes, messages], dim=1))


def _gate_edges(topology: Topology, similarity: Tensor, edges: Tensor) -> Tensor:
    """Multiply the edges `[E, 2]` by the gate `(s, 1 - s)`; self-loops become (1, 0)."""
    gate = torch.cat([similarity, 1 - similarity], dim=1)
    # Both channels keep their sum over each receiver's senders.
    total = topology.broadcast(topology.sum(edges))
    gated = topology.normalize(gate * edges) * total
    # Self-loops of `edges` are 0, so adding (1, 0) sets them.
    loop_edges = torch.stack(
        [topology.is_self_loop, torch.zeros_like(topology.is_self_loop)], dim=1
    )
    gated = gated + loop_edges + EPSILON
    return gated / gated.sum(1, keepdim=True)


@torch.no_grad()
def init_as_metric(layer: EgnnLayer, pull: float, noise: float = 0.1, shift: float = 3.0) -> None:
    """Initialize a layer so that it preserves the features and similarity falls with distance.

    The first linear layer of the node network computes `±R (v_i + pull Σ_j ẽ_ij1 v_j)`, where `R`
    has random orthonormal rows, so that batch norm finds channels of similar variance. The second
    linear layer recombines the positive and the negative half. The edge network has positive
    weights and a negative last layer, so that its output falls with the L1 distance of the nodes.

    Args:
        layer: the layer to initialize.
        pull: weight of the neighbors' mean in the node update.
        noise: factor on torch's initial weights, which are added.
        shift: bias of the batch norms, in standard deviations; it keeps activations above the
            kink of the LeakyReLU, where the layer is linear.
    """
    first, second = (module for module in layer.node_net if isinstance(module, nn.Linear))
    width, dim = second.out_features, first.in_features // 3
    rank = min(width, dim)
    basis = nn.init.orthogonal_(first.weight.new_empty(rank, dim))
    signs = torch.cat([torch.eye(rank), -torch.eye(rank)], dim=1)
    # LeakyReLU(x) - LeakyReLU(-x) is linear in x, so both halves together preserve the features.
    first.weight[: 2 * rank] *= noise
    first.weight[: 2 * rank, : 2 * dim] += signs.T @ torch.cat([basis, pull * basis], dim=1)
    second.weight[:rank] *= noise
    second.weight[:rank, : 2 * rank] += signs
    [*_, last_norm] = (module for module in layer.node_net if isinstance(module, RowNorm))
    last_norm.norm.bias[:rank] = shift

    *hidden, output = (module for module in layer.edge_net if isinstance(module, nn.Linear))
    # Monotone in every |v_i - v_j|: positive hidden weights, negative output weights.
    for linear in hidden:
        linear.weight.abs_()
    output.weight.abs_().neg_()
    for module in layer.edge_net:
        if isinstance(module, RowNorm):
            module.norm.bias.fill_(shift)


def edges_from_labels(episode: Episode, topology: Topology, like: Tensor) -> Tensor:
    """Initial edges `[E, 2]` from the labels, with the dtype of `like`.

    (1, 0) if the two labels agree and on self-loops, (0, 1) if they differ, (½, ½) if one is
    unknown.
    """
    receiver_label = episode.y[topology.receivers]
    sender_label = episode.y[topology.senders]
    is_unknown = (receiver_label < 0) | (sender_label < 0)
    is_same = (receiver_label == sender_label).to(like.dtype)
    similarity = torch.where(is_unknown, 0.5, is_same).to(like.dtype)
    similarity = similarity.masked_fill(topology.is_self_loop, 1.0)
    return torch.stack([similarity, 1 - similarity], dim=1)


def embed(episode: Episode) -> Graph:
    """Build the complete graph of each task; nodes are features, labels are in the edges only."""
    topology = complete_graph(episode.sizes, episode.x.device)
    edges = edges_from_labels(episode, topology, episode.x)
    return Graph(episode.x, edges, topology, episode)


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
    """Edge-labeling graph neural network: layers refine edge labels; any way, any shot.

    Query sampling in training decides what a transductive model learns. With exactly one query per
    class it learns that queries exclude each other, and it fails on tasks where they do not.

    Formula:
        v_i ← f_v([v_i ; Σ_j ẽ_ij1 v_j ; Σ_j ẽ_ij2 v_j]),  ẽ without self-loops, rows sum to 1
        s_ij = σ(f_e(|v_i - v_j|)),  g_ij = (s_ij, 1 - s_ij)
        e_ijd ← g_ijd e_ijd / Σ_k g_ikd e_ikd · Σ_k e_ikd,  then e_ii = (1, 0), e_ij1 + e_ij2 = 1
        logit_qk = log Σ_{y_j = k} e_qj1

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        layers: number of layers.
        width: node width after the first layer.
        p: dropout probability in all layers but the last.
        pull: start as a nearest-neighbor classifier on the encoder's features, with this weight of
            similar nodes in each node update from the second layer on. None uses torch's
            initialization, which randomizes the features first.
        transductive: all queries of a task in one graph; otherwise one graph per query.

    Returns:
        A `GraphMethod` with logits `[Q, way]`, trained with `edge_loss`.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("egnn", encoder=gf.backbones.identity(8), layers=2)
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Kim, Kim, Kim, Yoo, 2019, Edge-Labeling Graph Neural Network for Few-shot Learning.

    Deviations:
        The initial weights, unless `pull` is None. Batch statistics of the edge network are those
        of distinct pairs (self-loops, on which no output depends, are never computed). Dropout
        drops single entries, not whole channels of a task. Only labeled supports vote (unlabeled
        ones also vote in the published code). The logits are the logarithm of the votes.
        Self-loops are (1, 0) in the initial graph (they are masked).
    """
    widths = [dim] + [width] * layers
    steps = []
    for index in range(layers):
        is_first, is_last = index == 0, index == layers - 1
        # The first layer has no estimate of which nodes are similar: edges between unlabeled nodes
        # are (½, ½), so adding neighbors would only blur the features.
        layer_pull = 0.0 if is_first and pull is not None else pull
        layer_p = 0.0 if is_last else p
        steps.append(EgnnLayer(widths[index], width, layer_p, pull=layer_pull))
    return GraphMethod(encoder, embed, steps, log_class_votes, transductive=transductive)
