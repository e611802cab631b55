"""MetaOptNet: ridge regression or a support vector machine on the supports of each task."""

from __future__ import annotations

import torch
from torch import nn

from graphfew.core.supports import Supports
from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.linear_classifier import LinearClassifier, LinearWeights
from graphfew.nn.method import GraphMethod
from graphfew.nn.ridge_regression import absolute_penalty, ridge_weights
from graphfew.nn.simplex_program import minimize_over_simplices


class RidgeDual(nn.Module):
    """Ridge regression without a bias, as the quadratic program of MetaOptNet."""

    def __init__(self, regularization: float, scale: float) -> None:
        super().__init__()
        self.regularization = regularization
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the weights of each task, in float64."""
        supports = supports.double()
        penalty = absolute_penalty(self.regularization, supports, supports.x)
        # The published quadratic program has no factor 1/2 at its linear term.
        weight = 2 * ridge_weights(supports.x, supports.one_hot, penalty)
        return LinearWeights(self.scale * weight)


class MulticlassSvm(nn.Module):
    """The multi-class support vector machine of Crammer and Singer, without a bias."""

    def __init__(self, penalty: float, regularization: float, scale: float) -> None:
        super().__init__()
        self.penalty = penalty
        self.regularization = regularization
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the weights of each task, in float64."""
        supports = supports.double()
        label = supports.one_hot
        square = absolute_penalty(1.0, supports, supports.x)
        # In units of the mean squared deviation, so that C and the jitter fit any features.
        x = supports.x / square.sqrt()[:, None, None]
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        hessian = torch.bmm(x, x.mT) + self.regularization * eye
        # The dual variables are a = C (Y - P), P rows of probabilities: `a <= C Y` and the row
        # sums of 0 become the constraints of P. A padded row does not interact with others.
        linear = label / self.penalty - torch.bmm(hessian, label)
        probs = minimize_over_simplices(hessian, linear)
        dual = self.penalty * (label - probs) * supports.mask[:, :, None]
        weight = torch.bmm(dual.mT, x) / square.sqrt()[:, None, None]
        return LinearWeights(self.scale * weight)


@register_method(paper="Lee et al. 2019", loss=node_loss, works_untrained=True)
def metaoptnet_ridge(
    encoder: nn.Module, *, dim: int, regularization: float = 1.0, scale: float = 5.0
) -> GraphMethod:
    """Ridge regression to one-hot labels without a bias (MetaOptNet's ridge head).

    It works without training, on features of any scale. Training learns the encoder and the scale.
    The paper trains with more supports per class than it evaluates with.

    Formula:
        X: supports, x̄ their mean, Y: their one-hot labels, p = λ · mean_i ‖x_i - x̄‖²
        W = 2 Xᵀ (X Xᵀ + p I)⁻¹ Y
        logit_qk = γ · w_kᵀ x_q

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: ignored; accepted for uniformity.
        regularization: λ.
        scale: initial value of γ.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if an argument is not positive; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("metaoptnet_ridge", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Lee, Maji, Ravichandran, Soatto, 2019, Meta-Learning with Differentiable Convex
        Optimization.

    Deviations:
        The penalty p is relative to the spread of the supports (50 in the published code,
        for unnormalized features of width 16,000), so γ starts at 5 instead of 1. Solved by a
        Cholesky factorization instead of a solver of quadratic programs, which gives the same
        result. Labels are not smoothed in the loss (0.1 in the published training).
    """
    del dim
    require_positive(regularization=regularization, scale=scale)
    layer = LinearClassifier(RidgeDual(regularization, scale))
    return linear_classifier_method(encoder, layer, require_labeled("metaoptnet_ridge"))


@register_method(paper="Lee et al. 2019", loss=node_loss, works_untrained=True)
def metaoptnet_svm(
    encoder: nn.Module,
    *,
    dim: int,
    penalty: float = 1.0,
    regularization: float = 1.0,
    scale: float = 10.0,
) -> GraphMethod:
    """A multi-class support vector machine, differentiated at its solution (MetaOptNet).

    It works without training, on features of any scale. Training learns the encoder and the scale.
    The paper trains with more supports per class than it evaluates with. The time grows with the
    number of classes times the cube of the number of supports, the memory with its square: it is
    meant for up to about a thousand supports.

    Formula:
        X: supports, x̄ their mean, Y: their one-hot labels, m = mean_i ‖x_i - x̄‖²
        a = argmin  ½ Σ_k a_kᵀ (X Xᵀ / m + λ I) a_k - Σ_i a_i,y_i
            subject to  a_ik ≤ C · Y_ik,  Σ_k a_ik = 0
        W = aᵀ X / m
        logit_qk = γ · w_kᵀ x_q

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: ignored; accepted for uniformity.
        penalty: C, the largest influence of a support.
        regularization: λ, added to the diagonal of the kernel.
        scale: initial value of γ.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if an argument is not positive; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("metaoptnet_svm", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Lee, Maji, Ravichandran, Soatto, 2019, Meta-Learning with Differentiable Convex
        Optimization; the dual: Crammer, Singer, 2001, On the Algorithmic Implementation of
        Multiclass Kernel-Based Vector Machines.

    Deviations:
        The kernel is divided by the mean squared deviation of the supports, so that C and λ fit
        features of any scale (C = 0.1 and λ = 1 for unnormalized features of width 16,000 in the
        published code), and γ starts at 10 instead of 1. The dual is solved to convergence (at most
        15 iterations in training and 3 in evaluation in the published code). Labels are not
        smoothed in the loss (0.1 in the published training).
    """
    del dim
    require_positive(penalty=penalty, regularization=regularization, scale=scale)
    layer = LinearClassifier(MulticlassSvm(penalty, regularization, scale))
    return linear_classifier_method(encoder, layer, require_labeled("metaoptnet_svm"))
