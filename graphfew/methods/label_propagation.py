"""Label propagation: the harmonic function of the labels on a graph of features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch
from graphfew.methods._propagation_graph import (
    Affinity,
    PropagationLayer,
    edge_weights,
    harmonic_scores,
    propagation_method,
)
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.propagation.affinity import self_tuning
from graphfew.propagation.solvers import harmonic_function


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
    """Harmonic function: the class distribution of a node is the mean over its neighbors.

    Labeled nodes keep their labels. Queries and unlabeled nodes are treated alike. A node without
    a path to a label gets uniform probabilities.

    A task with more than 3,000 nodes is solved by conjugate gradients on the sparse neighbor
    graph, with the same result and linear memory. Pass such a task alone; it has no gradient.

    Formula:
        T = D⁻¹ W,  W_ij the affinity of i and j, D the row sums of W
        F_U = (I - T_UU)⁻¹ T_UL Y_L,  L the labeled nodes, U all others
        logit_qk = log F_qk

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        affinity: function from tasks as dense arrays to edge weights `[G, n, n]`, which are zero
            on the diagonal and from nodes that send nothing.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        transductive: queries are nodes like unlabeled ones. Otherwise labels propagate among
            supports and unlabeled nodes only, and each query averages its neighbors there.

    Returns:
        A `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `center` has the wrong length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("label_propagation", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Zhu, Ghahramani, 2002, Learning from Labeled and Unlabeled Data with Label Propagation; Zhu,
        Ghahramani, Lafferty, 2003, Semi-Supervised Learning Using Gaussian Fields and Harmonic
        Functions; the inductive mode: Delalleau, Bengio, Le Roux, 2005, Efficient Non-Parametric
        Function Induction in Semi-Supervised Learning.

    Deviations:
        T_UU is damped by 1e-6. The affinity is configurable (a kernel of one width in the paper).
        Features are centered and normalized to length 1.
    """

    def solve(tasks: DenseBatch) -> Tensor:
        return harmonic_scores(edge_weights(tasks), tasks.one_hot)

    return propagation_method(
        encoder,
        PropagationLayer(solve, harmonic_function),
        dim=dim,
        affinity=affinity,
        power=power,
        center=center,
        transductive=transductive,
    )
