"""Label propagation and label spreading: labels flow along the edges of a graph of features; nothing is learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphfew.affinity import LARGE, Large, cosine_power, normalised, self_tuning
from graphfew.dense import Dense, solve_edges, solve_nodes
from graphfew.episode import Episode
from graphfew.features import check_centre, prepared
from graphfew.graph import Graph, Topology
from graphfew.model import GraphMethod
from graphfew.readout import one_hot, own_row
from graphfew.sparse import DAMPING, DENSE_NODES, harmonic, product, spread_labels
from graphfew.topologies import complete

Affinity = Callable[[Dense], Tensor]
Settle = Callable[[Topology, Tensor, Tensor], Tensor]
TINY = 1e-12


def label_propagation(encoder: nn.Module, *, dim: int, affinity: Affinity = self_tuning, power: float = 1.0,
                      centre: Sequence[float] | None = None, transductive: bool = True) -> GraphMethod:
    """The harmonic function: an unlabelled node's distribution is the mean of its neighbours', labels stay.

    Queries and unlabelled nodes are alike. A node that no label reaches is answered uniformly.

    Formula:
        T = D⁻¹ W,  W_ij the affinity of i and j, D the sums of its rows
        F_U = (I - T_UU)⁻¹ T_UL Y_L,  L the labelled nodes, U all others
        logit_qk = log F_qk

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        affinity: the edges `[G, n, n]`, zero on the diagonal and from silent nodes, of tasks as dense arrays.
        power, centre: of the features, see `graphfew.features.prepared`.
        transductive: all queries are nodes like unlabelled ones. Otherwise labels flow among supports and unlabelled
            nodes alone, and each query takes the mean of its neighbours there.

    Raises:
        ValueError: a centre that does not fit.

    Source: Zhu, Ghahramani, 2002, Learning from Labeled and Unlabeled Data with Label Propagation; Zhu, Ghahramani,
    Lafferty, 2003, Semi-Supervised Learning Using Gaussian Fields and Harmonic Functions; of new items one by one:
    Delalleau, Bengio, Le Roux, 2005, Efficient Non-Parametric Function Induction in Semi-Supervised Learning.

    A task of more than 3,000 nodes is solved by conjugate gradients on the sparse graph of its neighbours, to the same
    answers, in memory that grows with their number; give it alone. No gradient flows there.

    Deviations: T_UU is damped by 1e-6; the affinity is a choice (theirs is one width for all); features are centred
    and of length 1.
    """
    check_centre(centre, dim)
    embed = _embed(affinity, power, centre, transductive)

    def other() -> GraphMethod:
        return label_propagation(encoder, dim=dim, affinity=affinity, power=power, centre=centre,
                                 transductive=not transductive)

    solve = _Solve(_harmonic, harmonic)
    return GraphMethod(encoder, embed, [solve], own_row, transductive=transductive,
                       independent=not transductive, other_mode=other)


def label_spreading(encoder: nn.Module, *, dim: int, alpha: float = 0.8, steps: int | None = None,
                    affinity: Affinity = cosine_power, power: float = 1.0, centre: Sequence[float] | None = None,
                    transductive: bool = True) -> GraphMethod:
    """Local and global consistency: labels spread over the normalised graph, and every node keeps some of its own.

    Formula:
        S = D^-½ W D^-½,  W_ij the affinity of i and j, D the sums of its rows
        F = (I - αS)⁻¹ Y,  the limit of F ← αSF + (1-α)Y but for a factor;  columns of Y sum to 1
        logit_qk = log(F_qk / Σ_c F_qc)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        alpha: share of a node's label that comes from its neighbours, in `(0, 1)`; theirs is 0.99, which lets a few
            labels run far over weak edges.
        steps: iterate `F ← αSF + (1-α)Y` this often from `F = Y`; None takes the limit, in closed form.
        affinity: the edges `[G, n, n]`, zero on the diagonal and from silent nodes, of tasks as dense arrays.
        power, centre: of the features, see `graphfew.features.prepared`.
        transductive: as `label_propagation` has it.

    Raises:
        ValueError: alpha outside `(0, 1)`, fewer than one step, or a centre that does not fit.

    Source: Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, Learning with Local and Global Consistency.

    Large tasks are solved as `label_propagation` solves them.

    Deviations: alpha is 0.8; columns of Y sum to 1, so that a class with more shots is not favoured; the affinity is a
    choice (theirs is one width for all); features are centred and of length 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    if steps is not None and steps < 1:
        raise ValueError(f"steps is {steps}; give at least 1, or None for the limit")

    check_centre(centre, dim)

    def spread(tasks: Dense) -> Tensor:
        return _spread(tasks, alpha, steps)

    def settle(topology: Topology, weights: Tensor, label: Tensor) -> Tensor:
        if steps is not None:
            raise ValueError(f"steps is {steps}; a task of more than {DENSE_NODES} nodes is solved in the limit: "
                             "leave steps out")
        return spread_labels(topology, weights, label / label.sum(0), alpha)

    def other() -> GraphMethod:
        return label_spreading(encoder, dim=dim, alpha=alpha, steps=steps, affinity=affinity, power=power,
                               centre=centre, transductive=not transductive)

    embed = _embed(affinity, power, centre, transductive)
    return GraphMethod(encoder, embed, [_Solve(spread, settle)], own_row, transductive=transductive,
                       independent=not transductive, other_mode=other)


class _Solve:
    """A layer that puts class log-shares, `[N, max(way)]`, in the place of the nodes.

    Args:
        solve: tasks as dense arrays to mass `[G, n, way]`.
        settle: of one large task, a symmetric graph, its weights and one-hot labels to mass `[N, way]`.
    """

    def __init__(self, solve: Callable[[Dense], Tensor], settle: Settle) -> None:
        self.solve = solve
        self.settle = settle

    def __call__(self, graph: Graph) -> Graph:
        if graph.topology.sizes is not None:
            return graph.replace(nodes=solve_nodes(graph, lambda tasks: _log_shares(self.solve(tasks))))
        return graph.replace(nodes=_log_shares(self._large(graph)[None])[0])

    def _large(self, graph: Graph) -> Tensor:
        label, topology = one_hot(graph.episode, graph.edges), graph.topology
        # Only a silent query receives from nodes to which it does not send.
        heard = graph.episode.query[topology.receivers] & ~_sends(topology)[topology.receivers]
        settled, rows = (_part(topology, keep) for keep in (~heard, heard))
        mass = self.settle(settled, graph.edges[~heard], label)
        return mass + product(rows, graph.edges[heard], mass)


def _sends(topology: Topology) -> Tensor:
    sends = torch.zeros(topology.nodes, dtype=torch.bool, device=topology.device)
    return sends.index_fill(0, topology.senders, True)


def _part(topology: Topology, keep: Tensor) -> Topology:
    return Topology(topology.nodes, topology.device, links=(topology.senders[keep], topology.receivers[keep]))


def _embed(affinity: Affinity, power: float, centre: Sequence[float] | None, transductive: bool
           ) -> Callable[[Episode], Graph]:
    def weights(tasks: Dense) -> Tensor:
        return affinity(tasks if transductive else dataclasses.replace(tasks, silent=tasks.query))[..., None]

    def embed(episode: Episode) -> Graph:
        episode = prepared(episode, power, centre, None if transductive else ~episode.query)
        if max(episode.sizes) > DENSE_NODES and affinity in LARGE:
            return _large(episode, LARGE[affinity], transductive)
        edges = solve_edges(episode, weights)
        return Graph(episode.x, edges, complete(episode.sizes, episode.x.device), episode)

    return embed


def _large(episode: Episode, affinity: Large, transductive: bool) -> Graph:
    """The sparse graph of one task of many nodes; silent queries receive, and send nothing."""
    if episode.tasks > 1:
        raise ValueError(f"the episode has {episode.tasks} tasks and one of {max(episode.sizes)} nodes; above "
                         f"{DENSE_NODES} nodes give one task at a time")
    nodes = len(episode.y)
    if transductive:
        topology, weights = affinity.graph(episode.x)
        return Graph(episode.x, weights, topology, episode)
    context, query = (torch.nonzero(mask).flatten() for mask in (~episode.query, episode.query))
    among, own = affinity.graph(episode.x[context])
    index, heard = affinity.towards(episode.x[query], episode.x[context])
    senders = torch.cat([context[among.senders], context[index.flatten()]])
    receivers = torch.cat([context[among.receivers], query.repeat_interleave(index.shape[1])])
    order = receivers.argsort(stable=True)
    topology = Topology(nodes, receivers.device, links=(senders[order], receivers[order]))
    return Graph(episode.x, torch.cat([own, heard.reshape(-1, 1)])[order], topology, episode)


def _weights(tasks: Dense) -> Tensor:
    assert tasks.edges is not None
    return tasks.edges[..., 0]


def _harmonic(tasks: Dense) -> Tensor:
    weights = _weights(tasks)
    moves = weights / weights.sum(2, keepdim=True).clamp_min(TINY)
    free = (~tasks.labelled)[..., None].to(moves.dtype)
    system = torch.eye(moves.shape[1], dtype=moves.dtype, device=moves.device) - (1 - DAMPING) * free * moves
    mass: Tensor = torch.linalg.solve(system, tasks.label)
    return mass


def _spread(tasks: Dense, alpha: float, steps: int | None) -> Tensor:
    weights = _weights(tasks)
    # Nodes that hear others and are heard by none are queries asked alone; they take a mean, as harmonic ones do.
    alone = ((weights.sum(1) == 0) & (weights.sum(2) > 0))[..., None]
    mean = weights / weights.sum(2, keepdim=True).clamp_min(TINY)
    near = alpha * torch.where(alone, mean, normalised(weights))
    label = tasks.label / tasks.label.sum(1, keepdim=True)
    if steps is None:
        limit: Tensor = torch.linalg.solve(torch.eye(near.shape[1], dtype=near.dtype, device=near.device) - near, label)
        return limit
    share = label
    for _ in range(steps):
        share = torch.bmm(near, share) + (1 - alpha) * label
    return share


def _log_shares(mass: Tensor) -> Tensor:
    # Solves may leave a trace below zero; what no label reaches is uniform, and the floor keeps gradients finite.
    mass = mass.clamp_min(0)
    total = mass.sum(2, keepdim=True)
    shares = torch.where(total > 0, mass / total.masked_fill(total == 0, 1), 1 / mass.shape[2])
    return shares.clamp_min(TINY).log()
