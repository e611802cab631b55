"""PoissonMBO: Poisson learning with one class per node and given class proportions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
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
from graphfew.propagation.symmetric_graph import (
    SymmetricGraph,
    dense_symmetric_graph,
    sparse_symmetric_graph,
)
from graphfew.propagation.threshold_dynamics import check_steps, poisson_mbo_probs


@register_method(paper="Calder et al. 2020", transductive=True, unlabeled=True)
def poisson_mbo(
    encoder: nn.Module,
    *,
    dim: int,
    prior: Sequence[float] | Literal["uniform"] | None = None,
    num_iterations: int = 20,
    diffusion_steps: int = 40,
    fidelity: float = 1.0,
    affinity: Affinity = knn_gaussian,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    transductive: bool = True,
) -> GraphMethod:
    """PoissonMBO: diffusions alternate with predictions of given class proportions.

    It needs the class proportions. A node without a path to a label gets uniform probabilities.

    A task with more than 3,000 nodes is solved by conjugate gradients on the sparse neighbor
    graph, with the same result and linear memory. Pass such a task alone; it has no gradient.

    Formula:
        P ← one-hot predictions of Poisson learning with the prior,  then 20 times:
          u ← P;  40 times: u ← u - dt ((D - W) u - fidelity · Σ_j δ_j (y_j - ȳ)),  dt = 1 / max_i d_i
          s_ik = w_k (u_ik - min u),  w such that argmax_k s_ik has the proportions of the prior
          P ← one-hot of argmax_k s_ik
        logit_qk = log(s_qk / Σ_c s_qc)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        prior: class proportions of the nodes without a label; `"uniform"` for equal ones.
        num_iterations: the most diffusions; fewer are needed if the predictions stay the same.
        diffusion_steps: steps of one diffusion.
        fidelity: weight of the sources.
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
        InvalidInputError: without a prior, or if it is not positive, if a number of steps is below
            1, or `center` has the wrong length; later, if the prior has another number of classes
            than a task.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("poisson_mbo", encoder=gf.backbones.identity(8), prior=[2.0, 1.0])
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        Every connected component has its own mean label ȳ (the paper's graph is connected), and
        only the classes that have a label in it. The first predictions have the proportions of the
        prior too (in the published code they are those without a prior). The paper has no
        probabilities; the prediction is the same. The class weights are found by another iteration,
        for the nodes without a label instead of all. Features are centered and normalized to
        length 1. The inductive mode is that of label propagation.
    """
    if prior is None:
        raise InvalidInputError(
            "poisson_mbo needs class proportions; pass prior=[...] with one number per class, or "
            "prior='uniform' if all classes are equally frequent, or use poisson instead"
        )
    proportions = None if prior == "uniform" else prior
    check_prior(proportions)
    check_steps(num_iterations, diffusion_steps)

    def probs(graph: SymmetricGraph, label: Tensor) -> Tensor:
        target = class_prior(proportions, label[None])
        return poisson_mbo_probs(graph, label, target, num_iterations, diffusion_steps, fidelity)

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
