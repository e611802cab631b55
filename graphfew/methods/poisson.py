"""Poisson learning: labels as sources of a diffusion on a graph of features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graphfew.core.topology import Topology
from graphfew.methods._propagation_graph import (
    Affinity,
    PropagationLayer,
    propagation_method,
    solve_symmetric,
)
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.propagation.class_priors import check_prior, class_prior
from graphfew.propagation.knn_gaussian import knn_gaussian
from graphfew.propagation.poisson_equation import poisson_probs
from graphfew.propagation.symmetric_graph import (
    SymmetricGraph,
    dense_symmetric_graph,
    sparse_symmetric_graph,
)


@register_method(paper="Calder et al. 2020", transductive=True, unlabeled=True)
def poisson(
    encoder: nn.Module,
    *,
    dim: int,
    prior: Sequence[float] | None = None,
    affinity: Affinity = knn_gaussian,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    transductive: bool = True,
) -> GraphMethod:
    """Poisson learning: classes spread from labels as sources, for very few labels.

    With few labels among many nodes, harmonic functions (`label_propagation`) are nearly constant;
    the solution of the Poisson equation is not. It favors classes of equal size unless a prior is
    given. A node without a path to a label gets uniform probabilities.

    A task with more than 3,000 nodes is solved by conjugate gradients on the sparse neighbor
    graph, with the same result and linear memory. Pass such a task alone; it has no gradient.

    Formula:
        (D - W) u = Σ_j δ_j (y_j - ȳ),  W_ij the affinity of i and j, D the row sums of W
        ȳ the mean label of a connected component, in which Σ_i d_i u_i = 0
        logit_qk = κ w_k (u_qk / τ - m),  τ the mean over nodes of max_k u_ik · K / (K - 1)
        κ = log(99 (K - 1)),  K the number of classes,  m the smallest u_ik / τ
        w = 1, or class weights for which the predictions have the proportions of the prior

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        prior: class proportions of the nodes without a label; None for no constraint.
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
        InvalidInputError: if `center` has the wrong length or the prior is not positive; later, if
            the prior has another number of classes than a task.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("poisson", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        Every connected component is solved as a graph of its own, with its own mean label and τ
        (the paper's graph is connected); classes without a label in it have probability 0 there.
        The paper has no probabilities; the prediction is the same. The class weights are found by
        another iteration, for the nodes without a label instead of all. Features are centered and
        normalized to length 1. The inductive mode is that of label propagation.
    """
    check_prior(prior)

    def probs(graph: SymmetricGraph, label: Tensor) -> Tensor:
        return poisson_probs(
            graph, label, None if prior is None else class_prior(prior, label[None])
        )

    def solve(weights: Tensor, label: Tensor) -> Tensor:
        return probs(dense_symmetric_graph(weights), label.flatten(0, 1)).view_as(label)

    def sparse_solve(topology: Topology, weights: Tensor, label: Tensor) -> Tensor:
        return probs(sparse_symmetric_graph(topology, weights), label)

    return propagation_method(
        encoder,
        PropagationLayer(solve_symmetric(solve), sparse_solve),
        dim=dim,
        affinity=affinity,
        power=power,
        center=center,
        transductive=transductive,
    )
