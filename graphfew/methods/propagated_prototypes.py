"""Propagated prototypes: features smoothed over their graph, then class nodes that move to what they are assigned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.builders import complete_graph
from graphfew.core.dense_batch import DenseBatch, map_to_edges
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph as with_class_means
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import PrototypeUpdate, SoftAssignment
from graphfew.propagation.affinity import cosine_power, sparse_cosine_power, symmetric_normalize
from graphfew.propagation.class_priors import check_prior
from graphfew.propagation.feature_transforms import (
    adaptive_power_normalize,
    check_center,
    power_normalize,
)
from graphfew.propagation.solvers import DENSE_NODES, spread_labels


@register_method(
    paper="Rodríguez et al. 2020; Hu et al. 2021",
    inductive=False,
    transductive=True,
    unlabeled=True,
)
def propagated_prototypes(
    encoder: nn.Module,
    *,
    dim: int,
    power: float = 0.5,
    center: Sequence[float] | None = None,
    k: int = 10,
    smoothing: float = 0.5,
    sharpness: float = 5.0,
    rate: float = 0.1,
    rounds: int = 20,
    prior: Sequence[float] | None = None,
    balanced: bool = False,
    strength: float = 10.0,
) -> GraphMethod:
    """The strongest default for features of any kind: embedding propagation, then PT-MAP. Needs no training.

    Formula:
        x ← (I - αS)⁻¹ x, of length 1,  S = D^-½ W D^-½,  W_ij = cos(x_i, x_j)³ among k nearest,  α = smoothing
        m_q = softmax_k(-s ‖x_q - c_k‖² + log π_k),  π_k ∝ Σ_q m_qk + strength · way · prior_k
        c_k ← c_k + rate · ((Σ_{y_i = k} x_i + Σ_q m_qk x_q) / (K_k + Σ_q m_qk) - c_k),  rounds times
        logit_qk = log m_qk,  s = sharpness · log(way) / log 5

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        power, center: of the features, see `power_normalize`; where no center is given, it is that of
            `adaptive_power_normalize`, unless the queries are told to be `balanced`.
        k: neighbors of a node in the graph that smooths.
        smoothing: α of `x ← (I - αS)⁻¹ x` over cosine neighbors, in `[0, 1)`; 0 leaves the features.
        sharpness, rate, rounds, prior, balanced, strength: as `pt_map` has them; by default the queries may be divided
            among the classes in any way, and their proportions are estimated.

    Raises:
        ValueError: smoothing outside `[0, 1)`, k below 1, proportions that are not positive, a negative strength, or a
            center that does not fit.

    Source: Rodríguez, Laradji, Drouin, Lacoste, 2020, Embedding Propagation; Hu, Gripon, Pateux, 2021, Leveraging the
    Feature Distribution in Transfer-Based Few-Shot Learning; the affinity: Lazarou, Stathaki, Avrithis, 2021.

    Where a task has more than 3,000 nodes, features are smoothed on sparse graphs, to the same values, and without a
    gradient.

    Deviations: the combination is ours, with estimated proportions; its numbers were chosen on the validation classes
    of CIFAR-FS.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}; it must be at least 0 and below 1")
    if k < 1:
        raise ValueError(f"k is {k}; a node needs at least 1 neighbor")
    check_prior(prior, strength)
    check_center(center, dim)

    def embed(episode: Episode) -> Graph:
        own = center is None and not balanced
        episode = (
            adaptive_power_normalize(episode, power, prior)
            if own
            else power_normalize(episode, power, center)
        )
        if max(episode.sizes) > DENSE_NODES:
            return with_class_means(_smoothed_large(episode, k, smoothing))
        return with_class_means(_smoothed(episode, _propagator(k, smoothing)))

    return GraphMethod(
        encoder,
        embed,
        [PrototypeUpdate(SoftAssignment(sharpness, prior, balanced, strength), rate, rounds)],
        class_node_logits,
    )


def _propagator(k: int, smoothing: float) -> Callable[[DenseBatch], Tensor]:
    def solve(tasks: DenseBatch) -> Tensor:
        eye = torch.eye(tasks.x.shape[1], dtype=tasks.x.dtype, device=tasks.x.device)
        out: Tensor = torch.linalg.inv(
            eye - smoothing * symmetric_normalize(cosine_power(tasks, k))
        )
        return out[..., None]

    return solve


def _smoothed(episode: Episode, propagator: Callable[[DenseBatch], Tensor]) -> Episode:
    """Features over the graph, of length 1."""
    topology = complete_graph(episode.sizes, episode.x.device)
    x = topology.propagate(map_to_edges(episode, propagator), episode.x)
    return episode.encode(lambda _: F.normalize(x, dim=1))


def _smoothed_large(episode: Episode, k: int, smoothing: float) -> Episode:
    """The same, task by task on the sparse graphs of neighbors, without a gradient."""
    if smoothing == 0:
        return episode.encode(lambda x: F.normalize(x, dim=1))
    tasks = torch.split(episode.x, list(episode.sizes))
    rows = [spread_labels(*sparse_cosine_power(x, k), x, smoothing) for x in tasks]
    return episode.encode(lambda _: F.normalize(torch.cat(rows), dim=1))
