"""DPGN: a point graph of features and a distribution graph of similarities refine each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import combine_checks, require_labeled, require_shot, require_way
from graphfew.methods.losses import dpgn_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import blocks
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import log_class_votes

# Edge channels: point similarity, distribution similarity, negative squared point distance.
POINT, DISTRIBUTION, DISTANCE = 0, 1, 2
EPSILON = 1e-6


class EdgeGate(nn.Module):
    """Edge gate `σ(MLP((a - b)²))` of node pairs."""

    def __init__(self, dim: int, hidden: int, p: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *blocks([dim, 2 * hidden, hidden], bias=False), nn.Dropout(p), nn.Linear(hidden, 1)
        )

    def forward(self, difference: Tensor) -> Tensor:
        """Map absolute differences `[P, dim]` of node pairs to gates `[P, 1]`."""
        out: Tensor = self.net(difference.square()).sigmoid()
        return out


def gate_edges(
    graph: Graph, gate: Callable[[Tensor], Tensor], nodes: Tensor, edges: Tensor
) -> Tensor:
    """Multiply edges `[E, 1]` by the gate of their two nodes, keeping each receiver's edge sum.

    Self-loops are then set to 1, and the edges of each receiver are normalized to sum to 1.
    """
    topology = graph.topology
    is_loop = topology.is_self_loop[:, None].to(edges.dtype)
    edges = edges * (1 - is_loop)
    # The gate is symmetric, so it is computed once per unordered pair.
    gates = topology.pairs_to_edges(gate(topology.pair_differences(nodes)), self_loop_value=0.0)
    total = topology.broadcast(topology.sum(edges))
    gated = topology.normalize(gates * edges) * total
    return topology.normalize(gated + is_loop + EPSILON)


class DpgnLayer(nn.Module):
    """One generation: point edges, distributions, distribution edges, then points.

    The last generation has no point update, because nothing reads its points.
    """

    def __init__(self, dim: int, num_supports: int, p: float, *, last: bool) -> None:
        super().__init__()
        self.num_supports = num_supports
        self.point_gate = EdgeGate(dim, dim, p)
        self.distribution = nn.Sequential(nn.Linear(2 * num_supports, num_supports), nn.LeakyReLU())
        self.distribution_gate = EdgeGate(num_supports, num_supports, p)
        self.point: nn.Module | None = None
        if not last:
            self.point = nn.Sequential(*blocks([2 * dim, 2 * dim, dim], bias=False), nn.Dropout(p))

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new nodes `[N, dim + num_supports]` and edges `[E, 3]`."""
        topology = graph.topology
        points = graph.nodes[:, : -self.num_supports]
        distributions = graph.nodes[:, -self.num_supports :]

        point_edges = gate_edges(graph, self.point_gate, points, graph.edges[:, [POINT]])
        squared_distance = topology.pair_differences(points).square().sum(1, keepdim=True)
        distance_edges = topology.pairs_to_edges(-squared_distance, self_loop_value=0.0)

        supports = support_one_hot(graph.episode, self.num_supports).to(points.dtype)
        similarity = topology.propagate(point_edges, supports)
        distributions = self.distribution(torch.cat([similarity, distributions], dim=1))
        distribution_edges = gate_edges(
            graph, self.distribution_gate, distributions, graph.edges[:, [DISTRIBUTION]]
        )

        if self.point is not None:
            # Points see themselves through the concatenation, not through a self-loop.
            without_loops = topology.normalize(distribution_edges * ~topology.is_self_loop[:, None])
            messages = topology.propagate(without_loops, points)
            points = self.point(torch.cat([points, messages], dim=1))
        return graph.replace(
            nodes=torch.cat([points, distributions], dim=1),
            edges=torch.cat([point_edges, distribution_edges, distance_edges], dim=1),
        )


def support_one_hot(episode: Episode, num_supports: int) -> Tensor:
    """One-hot position of each support among its task's supports, `[N, num_supports]`.

    Supports are ordered by class, then by node; rows of other nodes are zero.
    """
    support = torch.nonzero(episode.labeled).flatten()
    max_way = int(episode.y.max()) + 1
    key = episode.task[support] * max_way + episode.y[support]
    support = support[key.argsort(stable=True)]
    # Every task has num_supports supports, so the position within the task is a remainder.
    position = torch.arange(len(support), device=support.device) % num_supports
    out = torch.zeros(len(episode.y), num_supports, device=support.device)
    out[support, position] = 1
    return out


def dual_graph(num_supports: int) -> Callable[[Episode], Graph]:
    """Return the embedding: the complete graph of each task with points, distributions and edges.

    Nodes are features followed by similarities to the supports. Edges follow from the labels.
    """

    def embed(episode: Episode) -> Graph:
        topology = complete_graph(episode.sizes, episode.x.device)
        points = episode.x
        receivers, senders = topology.receivers, topology.senders
        receiver_labeled, sender_labeled = episode.labeled[receivers], episode.labeled[senders]
        same_label = episode.y[receivers] == episode.y[senders]
        is_same = receiver_labeled & sender_labeled & same_label | topology.is_self_loop
        # One labeled end: 1 / num_supports, the uniform distribution over supports. Edges between
        # two queries begin at 0, so that queries exchange information through supports only.
        is_mixed = receiver_labeled ^ sender_labeled
        weights = is_same.to(points.dtype) + is_mixed.to(points.dtype) / num_supports
        edges = weights[:, None]
        supports = support_one_hot(episode, num_supports).to(points.dtype)
        distributions = topology.propagate(edges, supports)
        channels = torch.cat([edges, edges, torch.zeros_like(edges)], dim=1)
        return Graph(torch.cat([points, distributions], dim=1), channels, topology, episode)

    return embed


class InitialPointGate(nn.Module):
    """Gate the point edges once before the first generation."""

    def __init__(self, dim: int, num_supports: int, p: float) -> None:
        super().__init__()
        self.num_supports = num_supports
        self.gate = EdgeGate(dim, dim, p)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new point edges."""
        points = graph.nodes[:, : -self.num_supports]
        point_edges = gate_edges(graph, self.gate, points, graph.edges[:, [POINT]])
        return graph.replace(edges=torch.cat([point_edges, graph.edges[:, 1:]], dim=1))


@register_method(
    paper="Yang et al. 2020",
    loss=dpgn_loss,
    transductive=True,
    fixed_way=True,
    fixed_shot=True,
    class_order_matters=True,
    node_order_matters=True,
)
def dpgn(
    encoder: nn.Module,
    *,
    dim: int,
    way: int = 5,
    shot: int = 1,
    generations: int = 5,
    p: float = 0.1,
    transductive: bool = True,
) -> GraphMethod:
    """Distribution propagation graph network: features and support similarities in two graphs.

    Supports are ordered by class, so the order of the classes can change predictions.

    Formula:
        e_ij ← σ(MLP((p_i - p_j)²)) e_ij, each row keeping its sum;  then e_ii = 1, rows sum to 1
        d_i ← LeakyReLU(W [e_is for the supports s ; d_i] + b)
        f_ij ← σ(MLP((d_i - d_j)²)) f_ij, normalized in the same way
        p_i ← MLP([p_i ; Σ_j f̃_ij p_j]),  f̃ without self-loops, rows sum to 1
        logit_qk = log Σ_{y_s = k} e_qs

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        way: classes of every task.
        shot: supports per class of every task; the distribution graph has weights per support.
        generations: number of layers.
        p: dropout probability in all layers but the last.
        transductive: all queries of a task in one graph; otherwise one graph per query.

    Returns:
        A `GraphMethod` with logits `[Q, way]`, trained with `dpgn_loss`.

    Raises:
        InvalidInputError: if `generations` is below 1; later, if a task has another way or shot, or
            unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(4, 8), labels, labels < 0, way=2)
        >>> model = gf.create("dpgn", encoder=gf.backbones.identity(8), way=2, shot=1)
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Yang, Li, Zhang, Zhou, Zhou, Liu, 2020, DPGN: Distribution Propagation Graph Network for
        Few-Shot Learning.

    Deviations:
        Any number of queries (the published code has one per class; in both, queries exchange
        information through supports only, since their edges begin at 0). The first gate reads the
        same features as the layers (an earlier layer of the encoder in the published code). Batch
        statistics are computed over distinct pairs.
    """
    if generations < 1:
        raise InvalidInputError(f"generations must be at least 1, got {generations}")
    num_supports = way * shot
    layers = [DpgnLayer(dim, num_supports, p, last=False) for _ in range(generations - 1)]
    layers.append(DpgnLayer(dim, num_supports, 0.0, last=True))
    check = combine_checks(
        require_labeled("dpgn"), require_way("dpgn", way), require_shot("dpgn", shot)
    )
    return GraphMethod(
        encoder,
        dual_graph(num_supports),
        [InitialPointGate(dim, num_supports, p), *layers],
        log_class_votes,
        transductive=transductive,
        check=check,
        node_order_matters=True,
    )
