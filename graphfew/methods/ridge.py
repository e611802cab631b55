"""R2D2: ridge regression to one-hot labels on the supports of each task."""

from __future__ import annotations

import math

import torch
from torch import nn

from graphfew.core.supports import Supports
from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.linear_classifier import LinearClassifier, LinearWeights
from graphfew.nn.method import GraphMethod
from graphfew.nn.ridge_regression import absolute_penalty, append_ones, ridge_weights


class RidgeRegression(nn.Module):
    """Fit of one-hot labels by ridge regression with a bias, times a scale."""

    def __init__(self, regularization: float, scale: float) -> None:
        super().__init__()
        self.log_regularization = nn.Parameter(torch.tensor(math.log(regularization)))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the weights and biases of each task, in float64."""
        supports = supports.double()
        columns = append_ones(supports)
        relative = self.log_regularization.double().exp()
        penalty = absolute_penalty(relative, supports, columns)
        rows = self.scale * ridge_weights(columns, supports.one_hot, penalty)
        return LinearWeights(rows[:, :, :-1], rows[:, :, -1])


@register_method(paper="Bertinetto et al. 2019", loss=node_loss, works_untrained=True)
def ridge(
    encoder: nn.Module, *, dim: int, regularization: float = 1.0, scale: float = 10.0
) -> GraphMethod:
    """Ridge regression to one-hot labels, solved in closed form and differentiated through (R2D2).

    It works without training, on features of any scale (lengths above 1e-4). Training learns the encoder, the
    regularization (as a logarithm) and the scale. The way and the shot in training can differ from
    those in evaluation, as they do in the paper.

    Formula:
        X: supports with a column of ones, Y: their one-hot labels
        p = λ · mean_i ‖x_i - x̄‖²,  x̄ the mean of the supports
        W = Xᵀ (X Xᵀ + p I)⁻¹ Y = (Xᵀ X + p I)⁻¹ Xᵀ Y,  the smaller system is solved
        logit_qk = α · (w_kᵀ x_q + b_k)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: ignored; accepted for uniformity.
        regularization: initial value of λ.
        scale: initial value of α.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `regularization` or `scale` is not positive; later, if a task has
            unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("ridge", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Bertinetto, Henriques, Torr, Vedaldi, 2019, Meta-learning with Differentiable Closed-Form
        Solvers.

    Deviations:
        The penalty is relative to the spread of the supports (the paper's λ on `X / √n` is `p / n`
        here), so that normalized features are not regularized to nothing. λ is learned, as the
        paper writes; the published code fixes it at 50. The learned offset of all logits is left
        out, because it cancels in the softmax. The scale starts at 10 on all data (1e-4 on
        mini-ImageNet in the published code). Solved in float64.
    """
    del dim
    require_positive(regularization=regularization, scale=scale)
    layer = LinearClassifier(RidgeRegression(regularization, scale))
    return linear_classifier_method(encoder, layer, require_labeled("ridge"))
