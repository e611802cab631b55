"""iMAML: a linear classifier near a learned one, with implicit gradients."""

from __future__ import annotations

import torch
from torch import nn

from graphfew.core.supports import Supports
from graphfew.methods._checks import combine_checks, require_labeled, require_positive, require_way
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.attractor_objective import AttractorObjective, minimizer
from graphfew.nn.classifier_starts import own_rows
from graphfew.nn.inner_loop import HeadStart
from graphfew.nn.linear_classifier import LinearClassifier, LinearWeights
from graphfew.nn.method import GraphMethod
from graphfew.nn.ridge_regression import absolute_penalty, append_ones


class ProximalFit(nn.Module):
    """Fit of a linear classifier by the cross-entropy plus the squared distance from a start."""

    def __init__(self, start: HeadStart, regularization: float) -> None:
        super().__init__()
        self.start = start
        self.regularization = regularization

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the weights and biases of each task, in float64."""
        start = self.start(supports)
        assert start.bias is not None
        supports = supports.double()
        columns = append_ones(supports)
        penalty = absolute_penalty(self.regularization, supports, columns)
        objective = AttractorObjective(
            x=columns,
            label=supports.one_hot,
            base_logits=columns.new_zeros(*columns.shape[:2], 0),
            attractor=torch.cat([start.weight, start.bias[:, :, None]], dim=2).double(),
            stiffness=penalty[:, None, None] / 2,
        )
        rows = minimizer(objective)
        return LinearWeights(rows[:, :, :-1], rows[:, :, -1])


@register_method(
    paper="Rajeswaran et al. 2019", loss=node_loss, fixed_way=True, class_order_matters=True
)
def imaml(
    encoder: nn.Module, *, dim: int, way: int = 5, regularization: float = 0.1
) -> GraphMethod:
    """MAML with an inner problem that is solved to convergence and differentiated implicitly.

    The gradient needs no steps in memory. Each class has a learned start, so the order of the
    classes matters.

    Formula:
        W_0, b_0: learned, one row per class
        W, b = argmin  mean_i CE(W x_i + b, y_i) + (p/2) (‖W - W_0‖² + ‖b - b_0‖²)
        p = λ · mean_i ‖x_i - x̄‖²,  x̄ the mean of the supports
        logit_q = W x_q + b
        d(W, b) = -H⁻¹ d(gradient of the objective),  H its Hessian at the minimum

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        way: number of classes of every task.
        regularization: λ.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `regularization` is not positive; later, if a task has unlabeled nodes
            or another number of classes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("imaml", encoder=gf.backbones.identity(8), way=2)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Rajeswaran, Finn, Kakade, Levine, 2019, Meta-Learning with Implicit Gradients.

    Deviations:
        Only the classifier is adapted (the whole network in the paper), so the inner problem is
        convex and is solved by Newton's method instead of 16 steps of gradient descent. The
        gradient is that of the paper's formula to convergence; the published code leaves the
        attraction out of the steps, takes 5 steps of conjugate gradients on another matrix, and
        evaluates without attraction. λ is relative to the spread of the supports (2.0, absolute,
        in the published code).
    """
    require_positive(regularization=regularization)
    layer = LinearClassifier(ProximalFit(own_rows(dim, way), regularization))
    check = combine_checks(require_labeled("imaml"), require_way("imaml", way))
    return linear_classifier_method(encoder, layer, check)
