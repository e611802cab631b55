"""LR-D2: logistic regression on the supports of each task by Newton's method."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.supports import Supports
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.linear_classifier import LinearClassifier, LinearWeights
from graphfew.nn.method import GraphMethod
from graphfew.nn.ridge_regression import (
    absolute_penalty,
    append_ones,
    ridge_coefficients,
    ridge_weights,
)

# A support that is fitted with certainty has weight 0, by which the dual system divides.
SMALLEST_WEIGHT = 1e-6
# Classes are fitted together as long as their systems of equations have at most so many bytes.
CHUNK_BYTES = 64 * 2**20


class LogisticRegression(nn.Module):
    """Fit of one binary classifier per class by iteratively reweighted least squares."""

    def __init__(self, regularization: float, scale: float, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.log_regularization = nn.Parameter(torch.tensor(math.log(regularization)))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the weights and biases of each task, in float64."""
        supports = supports.double()
        x = append_ones(supports)
        relative = self.log_regularization.double().exp()
        penalty = absolute_penalty(relative, supports, x)
        # The smaller system of equations, as in ridge regression.
        is_dual = x.shape[1] <= x.shape[2]
        fit, rows = (self._fit_dual, torch.bmm(x, x.mT)) if is_dual else (self._fit_primal, x)
        system_bytes = 8 * len(x) * min(x.shape[1:]) ** 2
        labels = torch.split(supports.one_hot, max(1, CHUNK_BYTES // system_bytes), dim=2)
        mask = supports.mask[:, None]
        parts = [fit(rows, label.mT, mask, penalty) for label in labels]
        solution = torch.cat(parts, dim=1)
        weights = self.scale * (torch.bmm(solution, x) if is_dual else solution)
        return LinearWeights(weights[:, :, :-1], weights[:, :, -1])

    def _fit_dual(self, gram: Tensor, y: Tensor, mask: Tensor, penalty: Tensor) -> Tensor:
        """Return the coefficients of the supports, `[G, C, S]`, for binary labels `[G, C, S]`."""
        score = torch.zeros_like(y)
        coefficients = score
        for _ in range(self.steps):
            root, target = weighted_targets(score, y, mask)
            weighted = root[:, :, :, None] * gram[:, None] * root[:, :, None]
            solution = ridge_coefficients(
                weighted.flatten(0, 1),
                target.flatten(0, 1)[:, :, None],
                penalty.repeat_interleave(y.shape[1]),
            )
            coefficients = root * solution.view_as(y)
            score = torch.bmm(coefficients, gram)
        return coefficients

    def _fit_primal(self, x: Tensor, y: Tensor, mask: Tensor, penalty: Tensor) -> Tensor:
        """Return the weights `[G, C, F + 1]` for binary labels `[G, C, S]`."""
        score = torch.zeros_like(y)
        weights = x.new_zeros(len(x), y.shape[1], x.shape[2])
        for _ in range(self.steps):
            root, target = weighted_targets(score, y, mask)
            rows = root[:, :, :, None] * x[:, None]
            solution = ridge_weights(
                rows.flatten(0, 1),
                target.flatten(0, 1)[:, :, None],
                penalty.repeat_interleave(y.shape[1]),
            )
            weights = solution.view_as(weights)
            score = torch.bmm(weights, x.mT)
        return weights


def weighted_targets(score: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the root of the weights of least squares, and the targets times it.

    Args:
        score: η, `[G, C, S]`.
        y: binary labels, `[G, C, S]`.
        mask: `[G, 1, S]` bool, False where padded.

    Returns:
        `√s` and `√s z`, `[G, C, S]`, with `s = μ (1 - μ)` and `z = η + (y - μ) / s`; 0 where padded.
    """
    prob = score.sigmoid()
    root = (prob * (1 - prob)).clamp_min(SMALLEST_WEIGHT).sqrt()
    target = root * score + (y - prob) / root
    return root * mask, target * mask


@register_method(paper="Bertinetto et al. 2019", loss=node_loss, works_untrained=True)
def logistic(
    encoder: nn.Module,
    *,
    dim: int,
    regularization: float = 0.1,
    scale: float = 1.0,
    steps: int = 5,
) -> GraphMethod:
    """Logistic regression, one class against the rest, differentiated through its steps (LR-D2).

    It works without training, on features of any scale (lengths above 1e-4). Training learns the encoder, the
    regularization (as a logarithm) and the scale.

    Formula:
        X: supports with a column of ones, Y: their one-hot labels, η = 0
        p = λ · mean_i ‖x_i - x̄‖²,  x̄ the mean of the supports
        for each class, steps times:
            μ = σ(η),  s = μ (1 - μ),  z = η + (y - μ) / s
            w = argmin Σ_i s_i (w x_i - z_i)² + p ‖w‖²,  η = X w
        logit_qk = α · (w_kᵀ x_q + b_k)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: ignored; accepted for uniformity.
        regularization: initial value of λ.
        scale: initial value of α.
        steps: steps of Newton's method, the same in training and evaluation.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `regularization` or `scale` is not positive or `steps` is below
            1; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("logistic", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Bertinetto, Henriques, Torr, Vedaldi, 2019, Meta-learning with Differentiable Closed-Form
        Solvers.

    Deviations:
        The penalty is relative to the spread of the supports and learned (fixed at 1 or 50
        in the published code). The weights s are at least 1e-6. The smaller of the dual and the
        primal system is solved, in float64. The learned offset of all logits is left out, because
        it cancels in the softmax.
    """
    del dim
    require_positive(regularization=regularization, scale=scale)
    if steps < 1:
        raise InvalidInputError(f"steps must be at least 1, got {steps}")
    layer = LinearClassifier(LogisticRegression(regularization, scale, steps))
    return linear_classifier_method(encoder, layer, require_labeled("logistic"))
