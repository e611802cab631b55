"""Label propagation and label spreading: labels flow along the edges of a graph of features; nothing is learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphfew.affinity import cosine_power, normalised, self_tuning
from graphfew.dense import Dense, solve_edges, solve_nodes
from graphfew.episode import Episode
from graphfew.features import check_centre, prepared
from graphfew.graph import Graph, complete
from graphfew.model import GraphMethod
from graphfew.readout import own_row

Affinity = Callable[[Dense], Tensor]
TINY = 1e-12
# Keeps the solution unique where a part of the graph has no label.
DAMPING = 1e-6


def label_propagation(encoder: nn.Module, *, dim: int, affinity: Affinity = self_tuning, power: float = 1.0,
                      centre: Sequence[float] | None = None, transductive: bool = True) -> GraphMethod:
    """The harmonic function: an unlabelled node's distribution is the mean of its neighbours', labels stay.

    In closed form `F_U = (I - T_UU)⁻¹ T_UL Y_L`, T the affinity with rows that sum to 1. Queries and unlabelled nodes
    are U. A node that no label reaches is answered uniformly.

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

    Deviations: T_UU is damped by 1e-6; the affinity is a choice (theirs is one width for all); features are centred
    and of length 1.
    """
    check_centre(centre, dim)
    embed = _embed(affinity, power, centre, transductive)

    def other() -> GraphMethod:
        return label_propagation(encoder, dim=dim, affinity=affinity, power=power, centre=centre,
                                 transductive=not transductive)

    return GraphMethod(encoder, embed, [_Solve(_harmonic)], own_row, transductive=transductive,
                       independent=not transductive, other_mode=other)


def label_spreading(encoder: nn.Module, *, dim: int, alpha: float = 0.8, steps: int | None = None,
                    affinity: Affinity = cosine_power, power: float = 1.0, centre: Sequence[float] | None = None,
                    transductive: bool = True) -> GraphMethod:
    """Local and global consistency: labels spread over the normalised graph, `F = (I - αS)⁻¹ Y`, S = D⁻½ W D⁻½.

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

    def other() -> GraphMethod:
        return label_spreading(encoder, dim=dim, alpha=alpha, steps=steps, affinity=affinity, power=power,
                               centre=centre, transductive=not transductive)

    embed = _embed(affinity, power, centre, transductive)
    return GraphMethod(encoder, embed, [_Solve(spread)], own_row, transductive=transductive,
                       independent=not transductive, other_mode=other)


class _Solve:
    """A layer that puts class log-shares, `[N, max(way)]`, in the place of the nodes."""

    def __init__(self, solve: Callable[[Dense], Tensor]) -> None:
        self.solve = solve

    def __call__(self, graph: Graph) -> Graph:
        return graph.replace(nodes=solve_nodes(graph, lambda tasks: _log_shares(self.solve(tasks))))


def _embed(affinity: Affinity, power: float, centre: Sequence[float] | None, transductive: bool
           ) -> Callable[[Episode], Graph]:
    def weights(tasks: Dense) -> Tensor:
        return affinity(tasks if transductive else dataclasses.replace(tasks, silent=tasks.query))[..., None]

    def embed(episode: Episode) -> Graph:
        episode = prepared(episode, power, centre, None if transductive else ~episode.query)
        edges = solve_edges(episode, weights)
        return Graph(episode.x, edges, complete(episode.sizes, episode.x.device), episode)

    return embed


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
    near = alpha * normalised(_weights(tasks))
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
