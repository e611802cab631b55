"""α-TIM: transductive information maximization with α-entropies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from graphfew.errors import InvalidInputError
from graphfew.methods._information_maximization import (
    EPSILON,
    EntropyGradient,
    InformationMaximization,
    LossWeights,
    information_maximization,
)
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod


def alpha_gradient(alpha: float) -> EntropyGradient:
    """Return the derivative of the α-entropy `(1 - Σ p^α) / (α - 1)` with respect to `p`."""
    return lambda p: -alpha / (alpha - 1) * p.clamp_min(EPSILON).pow(alpha - 1)


@register_method(paper="Veilleux et al. 2021", inductive=False, transductive=True)
def alpha_tim(
    encoder: nn.Module,
    *,
    dim: int,
    alpha: float = 2.0,
    steps: int = 100,
    lr: float = 1e-3,
    temperature: float = 15.0,
    support_weight: float = 1.0,
    marginal_weight: float = 1.0,
    conditional_weight: float = 1.0,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """TIM with α-entropies, which penalize imbalanced predictions less, for imbalanced queries.

    Formula:
        logit_ik = -τ/2 ‖x_i - w_k‖²,  p_i = softmax_k(logit_i),  τ = temperature
        w_k initially the mean of class k's supports
        w ← Adam on  a · mean_supports CE(p_i, y_i) - b · H_α(mean_q p_q) + c · mean_q H_α(p_q)
        a, b, c = support_weight, marginal_weight, conditional_weight
        H_α(p) = (1 - Σ_k p_k^α) / (α - 1)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        alpha: order of the entropies, not 1; the paper uses 2 for one shot and 7 for five or more.
        steps: steps of Adam.
        lr: learning rate of Adam.
        temperature: factor τ on half the squared distance.
        support_weight: weight of the supports' cross-entropy.
        marginal_weight: weight of the α-entropy of the mean prediction.
        conditional_weight: weight of the mean α-entropy of predictions.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `alpha` is not positive or is 1, `steps` is below 1 or `center` has
            the wrong length; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("alpha_tim", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Veilleux, Boudiaf, Piantanida, Ben Ayed, 2021, Realistic Evaluation of Transductive Few-Shot
        Learning.

    Deviations:
        100 steps at 0.001 (1,000 at 0.0001 in the paper). Features are centered on the task's own
        mean.
    """
    if not alpha > 0 or alpha == 1:
        raise InvalidInputError(f"alpha must be positive and not 1 (use tim for 1), got {alpha}")
    weights = LossWeights(support_weight, marginal_weight, conditional_weight)
    layer = InformationMaximization(weights, alpha_gradient(alpha), temperature, steps, lr, None)
    return information_maximization("alpha_tim", encoder, dim, layer, power, center)
