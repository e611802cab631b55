"""WNLL: the harmonic function on a graph with stronger edges at the labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graphfew.core.topology import Topology
from graphfew.methods._propagation_graph import (
    Affinity,
    PropagationLayer,
    harmonic_scores,
    propagation_method,
    solve_symmetric,
)
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.propagation.knn_gaussian import knn_gaussian
from graphfew.propagation.reweighting import nonlocal_node_weights, reweight_nonlocal
from graphfew.propagation.solvers import harmonic_function
from graphfew.propagation.symmetric_graph import dense_symmetric_graph


@register_method(paper="Shi et al. 2017", transductive=True, unlabeled=True)
def wnll(
    encoder: nn.Module,
    *,
    dim: int,
    affinity: Affinity = knn_gaussian,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    transductive: bool = True,
) -> GraphMethod:
    """Weighted nonlocal Laplacian: the harmonic function with stronger edges at labeled nodes.

    With few labels among many nodes, harmonic functions (`label_propagation`) are nearly constant;
    stronger edges at the labels avoid this. A node without a path to a label gets uniform
    probabilities.

    A task with more than 3,000 nodes is solved by conjugate gradients on the sparse neighbor
    graph, with the same result and linear memory. Pass such a task alone; it has no gradient.

    Formula:
        W'_ij = (a_i + a_j) W_ij,  W_ij the affinity of i and j
        a_i = n / m for labeled nodes, 1 for others;  m of a component's n nodes are labeled
        F_U = (I - T_UU)⁻¹ T_UL Y_L,  T = D'⁻¹ W',  L the labeled nodes, U all others
        logit_qk = log F_qk

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        affinity: function from tasks as dense arrays to edge weights `[G, n, n]`, which are zero
            on the diagonal and from nodes that send nothing.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        transductive: queries are nodes like unlabeled ones. Otherwise only supports and unlabeled
            nodes are, and each query averages the probabilities of its neighbors there.

    Returns:
        A `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `center` has the wrong length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("wnll", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Shi, Osher, Zhu, 2017, Weighted Nonlocal Laplacian on Interpolation from Sparse Data.

    Deviations:
        n and m are counted in each connected component (the paper's graph is connected). T_UU is
        damped by 1e-6. The affinity is that of Poisson learning. Features are centered and
        normalized to length 1. The inductive mode is that of label propagation, with the affinities
        of queries as they are.
    """

    def solve(weights: Tensor, label: Tensor) -> Tensor:
        graph = dense_symmetric_graph(weights)
        is_labeled = label.any(2).view(-1, 1)
        factor = nonlocal_node_weights(graph, is_labeled).view(*weights.shape[:2], 1)
        reweighted = weights * (factor + factor.mT)
        return harmonic_scores(reweighted, label)

    def sparse_solve(topology: Topology, weights: Tensor, label: Tensor) -> Tensor:
        return harmonic_function(topology, reweight_nonlocal(topology, weights, label), label)

    return propagation_method(
        encoder,
        PropagationLayer(solve_symmetric(solve), sparse_solve),
        dim=dim,
        affinity=affinity,
        power=power,
        center=center,
        transductive=transductive,
    )
