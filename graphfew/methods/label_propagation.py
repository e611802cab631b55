"""Label propagation and label spreading: labels flow along the edges of a graph of features; nothing is learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.dense_batch import DenseBatch, map_to_edges, map_to_node_scores
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph, Topology
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import node_logits, one_hot
from graphfew.propagation.affinity import (
    SPARSE_AFFINITIES,
    SparseAffinity,
    cosine_power,
    self_tuning,
    symmetric_normalize,
)
from graphfew.propagation.feature_transforms import check_center, power_normalize
from graphfew.propagation.solvers import (
    DAMPING,
    DENSE_NODES,
    harmonic_function,
    sparse_matmul,
    spread_labels,
)

Affinity = Callable[[DenseBatch], Tensor]
Settle = Callable[[Topology, Tensor, Tensor], Tensor]
TINY = 1e-12


@register_method(paper="Zhu et al. 2003", transductive=True, unlabeled=True)
def label_propagation(
    encoder: nn.Module,
    *,
    dim: int,
    affinity: Affinity = self_tuning,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    transductive: bool = True,
) -> GraphMethod:
    """The harmonic function: an unlabeled node's distribution is the mean of its neighbors', labels stay.

    Queries and unlabeled nodes are alike. A node that no label reaches is answered uniformly.

    Formula:
        T = D⁻¹ W,  W_ij the affinity of i and j, D the sums of its rows
        F_U = (I - T_UU)⁻¹ T_UL Y_L,  L the labeled nodes, U all others
        logit_qk = log F_qk

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        affinity: the edges `[G, n, n]`, zero on the diagonal and from silent nodes, of tasks as dense arrays.
        power, center: of the features, see `graphfew.propagation.feature_transforms.power_normalize`.
        transductive: all queries are nodes like unlabeled ones. Otherwise labels flow among supports and unlabeled
            nodes alone, and each query takes the mean of its neighbors there.

    Raises:
        ValueError: a center that does not fit.

    Source: Zhu, Ghahramani, 2002, Learning from Labeled and Unlabeled Data with Label Propagation; Zhu, Ghahramani,
    Lafferty, 2003, Semi-Supervised Learning Using Gaussian Fields and Harmonic Functions; of new items one by one:
    Delalleau, Bengio, Le Roux, 2005, Efficient Non-Parametric Function Induction in Semi-Supervised Learning.

    A task of more than 3,000 nodes is solved by conjugate gradients on the sparse graph of its neighbors, to the same
    answers, in memory that grows with their number; give it alone. No gradient flows there.

    Deviations: T_UU is damped by 1e-6; the affinity is a choice (theirs is one width for all); features are centerd
    and of length 1.
    """
    check_center(center, dim)
    embed = _embed(affinity, power, center, transductive)

    def other() -> GraphMethod:
        return label_propagation(
            encoder,
            dim=dim,
            affinity=affinity,
            power=power,
            center=center,
            transductive=not transductive,
        )

    solve = _Solve(_harmonic, harmonic_function)
    return GraphMethod(
        encoder,
        embed,
        [solve],
        node_logits,
        transductive=transductive,
        independent_queries=not transductive,
        build_other_mode=other,
    )


@register_method(paper="Zhou et al. 2004", transductive=True, unlabeled=True)
def label_spreading(
    encoder: nn.Module,
    *,
    dim: int,
    alpha: float = 0.8,
    steps: int | None = None,
    affinity: Affinity = cosine_power,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    transductive: bool = True,
) -> GraphMethod:
    """Local and global consistency: labels spread over the normalized graph, and every node keeps some of its own.

    Formula:
        S = D^-½ W D^-½,  W_ij the affinity of i and j, D the sums of its rows
        F = (I - αS)⁻¹ Y,  the limit of F ← αSF + (1-α)Y but for a factor;  columns of Y sum to 1
        logit_qk = log(F_qk / Σ_c F_qc)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        alpha: share of a node's label that comes from its neighbors, in `(0, 1)`; theirs is 0.99, which lets a few
            labels run far over weak edges.
        steps: iterate `F ← αSF + (1-α)Y` this often from `F = Y`; None takes the limit, in closed form.
        affinity: the edges `[G, n, n]`, zero on the diagonal and from silent nodes, of tasks as dense arrays.
        power, center: of the features, see `graphfew.propagation.feature_transforms.power_normalize`.
        transductive: as `label_propagation` has it.

    Raises:
        ValueError: alpha outside `(0, 1)`, fewer than one step, or a center that does not fit.

    Source: Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, Learning with Local and Global Consistency.

    Large tasks are solved as `label_propagation` solves them.

    Deviations: alpha is 0.8; columns of Y sum to 1, so that a class with more shots is not favored; the affinity is a
    choice (theirs is one width for all); features are centerd and of length 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    if steps is not None and steps < 1:
        raise ValueError(f"steps is {steps}; give at least 1, or None for the limit")

    check_center(center, dim)

    def spread(tasks: DenseBatch) -> Tensor:
        return _spread(tasks, alpha, steps)

    def settle(topology: Topology, weights: Tensor, label: Tensor) -> Tensor:
        if steps is not None:
            raise ValueError(
                f"steps is {steps}; a task of more than {DENSE_NODES} nodes is solved in the limit: "
                "leave steps out"
            )
        return spread_labels(topology, weights, label / label.sum(0), alpha)

    def other() -> GraphMethod:
        return label_spreading(
            encoder,
            dim=dim,
            alpha=alpha,
            steps=steps,
            affinity=affinity,
            power=power,
            center=center,
            transductive=not transductive,
        )

    embed = _embed(affinity, power, center, transductive)
    return GraphMethod(
        encoder,
        embed,
        [_Solve(spread, settle)],
        node_logits,
        transductive=transductive,
        independent_queries=not transductive,
        build_other_mode=other,
    )


class _Solve:
    """A layer that puts class log-shares, `[N, max(way)]`, in the place of the nodes.

    Args:
        solve: tasks as dense arrays to mass `[G, n, way]`.
        settle: of one large task, a symmetric graph, its weights and one-hot labels to mass `[N, way]`.
    """

    def __init__(self, solve: Callable[[DenseBatch], Tensor], settle: Settle) -> None:
        self.solve = solve
        self.settle = settle

    def __call__(self, graph: Graph) -> Graph:
        if graph.topology.sizes is not None:
            return graph.replace(
                nodes=map_to_node_scores(graph, lambda tasks: _log_shares(self.solve(tasks)))
            )
        return graph.replace(nodes=_log_shares(self._large(graph)[None])[0])

    def _large(self, graph: Graph) -> Tensor:
        label, topology = one_hot(graph.episode, graph.edges), graph.topology
        # Only a silent query receives from nodes to which it does not send.
        heard = graph.episode.query[topology.receivers] & ~_sends(topology)[topology.receivers]
        settled, rows = (_part(topology, keep) for keep in (~heard, heard))
        mass = self.settle(settled, graph.edges[~heard], label)
        return mass + sparse_matmul(rows, graph.edges[heard], mass)


def _sends(topology: Topology) -> Tensor:
    sends = torch.zeros(topology.num_nodes, dtype=torch.bool, device=topology.device)
    return sends.index_fill(0, topology.senders, True)


def _part(topology: Topology, keep: Tensor) -> Topology:
    return Topology(
        topology.num_nodes,
        topology.device,
        edge_index=(topology.senders[keep], topology.receivers[keep]),
    )


def _embed(
    affinity: Affinity, power: float, center: Sequence[float] | None, transductive: bool
) -> Callable[[Episode], Graph]:
    def weights(tasks: DenseBatch) -> Tensor:
        return affinity(
            tasks if transductive else dataclasses.replace(tasks, receive_only=tasks.query)
        )[..., None]

    def embed(episode: Episode) -> Graph:
        episode = power_normalize(episode, power, center, None if transductive else ~episode.query)
        if max(episode.sizes) > DENSE_NODES and affinity in SPARSE_AFFINITIES:
            return _large(episode, SPARSE_AFFINITIES[affinity], transductive)
        edges = map_to_edges(episode, weights)
        return Graph(episode.x, edges, complete_graph(episode.sizes, episode.x.device), episode)

    return embed


def _large(episode: Episode, affinity: SparseAffinity, transductive: bool) -> Graph:
    """The sparse graph of one task of many nodes; silent queries receive, and send nothing."""
    if episode.n_tasks > 1:
        raise ValueError(
            f"the episode has {episode.n_tasks} tasks and one of {max(episode.sizes)} nodes; above "
            f"{DENSE_NODES} nodes give one task at a time"
        )
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
    topology = Topology(nodes, receivers.device, edge_index=(senders[order], receivers[order]))
    return Graph(episode.x, torch.cat([own, heard.reshape(-1, 1)])[order], topology, episode)


def _weights(tasks: DenseBatch) -> Tensor:
    assert tasks.edges is not None
    return tasks.edges[..., 0]


def _harmonic(tasks: DenseBatch) -> Tensor:
    weights = _weights(tasks)
    moves = weights / weights.sum(2, keepdim=True).clamp_min(TINY)
    free = (~tasks.labeled)[..., None].to(moves.dtype)
    system = (
        torch.eye(moves.shape[1], dtype=moves.dtype, device=moves.device)
        - (1 - DAMPING) * free * moves
    )
    mass: Tensor = torch.linalg.solve(system, tasks.one_hot)
    return mass


def _spread(tasks: DenseBatch, alpha: float, steps: int | None) -> Tensor:
    weights = _weights(tasks)
    # Nodes that hear others and are heard by none are queries asked alone; they take a mean, as harmonic ones do.
    alone = ((weights.sum(1) == 0) & (weights.sum(2) > 0))[..., None]
    mean = weights / weights.sum(2, keepdim=True).clamp_min(TINY)
    near = alpha * torch.where(alone, mean, symmetric_normalize(weights))
    label = tasks.one_hot / tasks.one_hot.sum(1, keepdim=True)
    if steps is None:
        limit: Tensor = torch.linalg.solve(
            torch.eye(near.shape[1], dtype=near.dtype, device=near.device) - near, label
        )
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
