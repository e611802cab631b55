"""DPGN: a graph of features and a graph of each node's similarities to the supports, which refine each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import combine_checks, require_labeled, require_shot, require_way
from graphfew.methods.losses import dpgn_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import blocks
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import log_class_votes

# Edge channels: similarity of points, similarity of distributions, and minus the squared distance of points.
POINT, DISTRIBUTION, DISTANCE = 0, 1, 2
FLOOR = 1e-6


class Gate(nn.Module):
    """`σ(MLP((a - b)²)) [P, 1]` of row pairs."""

    def __init__(self, dim: int, hidden: int, p: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *blocks([dim, 2 * hidden, hidden], bias=False), nn.Dropout(p), nn.Linear(hidden, 1)
        )

    def forward(self, apart: Tensor) -> Tensor:
        """From `|a - b|` of pairs, rows `[P, dim]`, to `[P, 1]`."""
        out: Tensor = self.net(apart.square()).sigmoid()
        return out


def gated(graph: Graph, gate: Callable[[Tensor], Tensor], x: Tensor, old: Tensor) -> Tensor:
    """Edges `[E, 1]`: the old ones times the gate, rows keeping their mass; then loops of 1, and rows of sum 1."""
    topology = graph.topology
    apart = (~topology.is_self_loop)[:, None].to(old.dtype)
    old = old * apart
    gates = topology.pairs_to_edges(gate(topology.pair_differences(x)), self_loop_value=0.0)
    new = topology.normalize(gates * old) * topology.broadcast(topology.sum(old))
    return topology.normalize(new + (1 - apart) + FLOOR)


class Generation(nn.Module):
    """One round: points' edges, distributions, distributions' edges, points (the last round, unread, leaves them)."""

    def __init__(self, dim: int, slots: int, p: float, *, last: bool) -> None:
        super().__init__()
        self.slots = slots
        self.point_gate = Gate(dim, dim, p)
        self.distribution = nn.Sequential(nn.Linear(2 * slots, slots), nn.LeakyReLU())
        self.distribution_gate = Gate(slots, slots, p)
        self.point = (
            None
            if last
            else nn.Sequential(*blocks([2 * dim, 2 * dim, dim], bias=False), nn.Dropout(p))
        )

    def forward(self, graph: Graph) -> Graph:
        """The graph with new nodes `[N, dim + slots]` and edges `[E, 3]`."""
        topology = graph.topology
        points, spread = graph.nodes[:, : -self.slots], graph.nodes[:, -self.slots :]
        near = gated(graph, self.point_gate, points, graph.edges[:, [POINT]])
        apart = topology.pairs_to_edges(
            -topology.pair_differences(points).square().sum(1, keepdim=True), self_loop_value=0.0
        )
        seen = topology.propagate(near, support_slots(graph.episode, self.slots).to(points.dtype))
        spread = self.distribution(torch.cat([seen, spread], dim=1))
        alike = gated(graph, self.distribution_gate, spread, graph.edges[:, [DISTRIBUTION]])
        if self.point is not None:
            heard = topology.propagate(
                topology.normalize(alike * ~topology.is_self_loop[:, None]), points
            )
            points = self.point(torch.cat([points, heard], dim=1))
        return graph.replace(
            nodes=torch.cat([points, spread], dim=1), edges=torch.cat([near, alike, apart], dim=1)
        )


def support_slots(episode: Episode, slots: int) -> Tensor:
    """`[N, slots]` 0/1: the place of each support among its task's, ordered by class, then by node; others zero."""
    support = torch.nonzero(episode.labeled).flatten()
    key = episode.task[support] * (int(episode.y.max()) + 1) + episode.y[support]
    support = support[key.argsort(stable=True)]
    out = torch.zeros(len(episode.y), slots, device=support.device)
    out[support, torch.arange(len(support), device=support.device) % slots] = 1
    return out


def embed_slots(slots: int) -> Callable[[Episode], Graph]:
    """The complete graph of each task: features beside similarities to the supports, and edges from the labels."""

    def embed(episode: Episode) -> Graph:
        topology = complete_graph(episode.sizes, episode.x.device)
        like = episode.x
        a, b = topology.receivers, topology.senders
        known = episode.labeled[a] & episode.labeled[b]
        joined = episode.labeled[a] ^ episode.labeled[b]
        same = known & (episode.y[a] == episode.y[b]) | topology.is_self_loop
        edges = (same.to(like.dtype) + joined.to(like.dtype) / slots)[:, None]
        similar = topology.propagate(edges, support_slots(episode, slots).to(like.dtype))
        nodes = torch.cat([like, similar], dim=1)
        return Graph(
            nodes, torch.cat([edges, edges, torch.zeros_like(edges)], dim=1), topology, episode
        )

    return embed


class FirstGate(nn.Module):
    """The points' edges refined once before the first round."""

    def __init__(self, dim: int, slots: int, p: float) -> None:
        super().__init__()
        self.slots = slots
        self.gate = Gate(dim, dim, p)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new point edges."""
        near = gated(graph, self.gate, graph.nodes[:, : -self.slots], graph.edges[:, [POINT]])
        return graph.replace(edges=torch.cat([near, graph.edges[:, 1:]], dim=1))


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
    """Distribution propagation: edges of features shape each node's similarities to the supports, and the reverse.

    Formula:
        e_ij ← σ(MLP((p_i - p_j)²)) e_ij, a row keeping its mass;  then e_ii = 1 and rows of sum 1
        d_i ← LeakyReLU(W [e_is for the supports s ; d_i] + b)
        f_ij ← σ(MLP((d_i - d_j)²)) f_ij, likewise
        p_i ← MLP([p_i ; Σ_j f̃_ij p_j]),  f̃ without self-loops, rows of sum 1
        logit_qk = log Σ_{y_s = k} e_qs

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        way, shot: of every task; the distribution graph has weights for each support.
        generations: rounds.
        p: dropout in all rounds but the last.
        transductive: all queries of a task in one graph, or one graph per query.

    Train with `dpgn_loss`. Supports have places by class, so that renaming classes may change an answer.

    Raises:
        ValueError: fewer than one round; later, a task of another way or shot, or unlabeled nodes.

    Source: Yang, Li, Zhang, Zhou, Zhou, Liu, 2020, DPGN: Distribution Propagation Graph Network for Few-Shot Learning.

    Deviations: any number of queries (theirs is one per class; in both, queries hear each other through supports only,
    since their edges begin at 0); the first refinement reads the same features as the rounds (theirs an earlier layer
    of the encoder); batch statistics are over distinct pairs.
    """
    if generations < 1:
        raise ValueError(f"generations is {generations}; give at least 1")
    slots = way * shot
    rounds = [
        Generation(dim, slots, p if left else 0.0, last=not left)
        for left in reversed(range(generations))
    ]
    check = combine_checks(
        require_labeled("dpgn"), require_way("dpgn", way), require_shot("dpgn", shot)
    )
    return GraphMethod(
        encoder,
        embed_slots(slots),
        [FirstGate(dim, slots, p), *rounds],
        log_class_votes,
        transductive=transductive,
        check=check,
        node_order_matters=True,
    )
