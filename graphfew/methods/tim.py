"""TIM: class nodes that maximize the mutual information of queries and predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch
from graphfew.methods._information_maximization import (
    EPSILON,
    ClassProportions,
    InformationMaximization,
    LossWeights,
    information_maximization,
)
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.propagation.class_priors import (
    check_prior,
    class_prior,
    estimate_proportions,
    unknown_mask,
)


def shannon_gradient(p: Tensor) -> Tensor:
    """Derivative of the entropy `-Σ p log p` with respect to `p`, up to a constant."""
    return -p.clamp_min(EPSILON).log()


def proportions_from_predictions(
    prior: Sequence[float] | None, prior_strength: float
) -> ClassProportions:
    """Return the target of the mean prediction: proportions of the first predictions and the prior.

    The returned function maps tasks and class probabilities `[G, n, way]` to `[G, way]`.
    """

    def target(tasks: DenseBatch, probs: Tensor) -> Tensor:
        query_probs = probs * unknown_mask(tasks)
        return estimate_proportions(query_probs, class_prior(prior, tasks.one_hot), prior_strength)

    return target


@register_method(paper="Boudiaf et al. 2020", inductive=False, transductive=True)
def tim(
    encoder: nn.Module,
    *,
    dim: int,
    steps: int = 100,
    lr: float = 1e-3,
    temperature: float = 15.0,
    support_weight: float = 0.1,
    marginal_weight: float = 0.3,
    conditional_weight: float = 0.3,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    prior: Sequence[float] | None = None,
    balanced: bool = False,
    prior_strength: float = 0.0,
) -> GraphMethod:
    """Transductive information maximization: confident predictions with expected proportions.

    Formula:
        logit_ik = -τ/2 ‖x_i - w_k‖²,  p_i = softmax_k(logit_i),  τ = temperature
        w_k initially the mean of class k's supports
        w ← Adam on  a · mean_supports CE(p_i, y_i) + b · KL(mean_q p_q, π) + c · mean_q H(p_q)
        a, b, c = support_weight, marginal_weight, conditional_weight,  H(p) = -Σ_k p_k log p_k
        π_k ∝ Σ_q p_qk + prior_strength · way · prior_k, of the first p;  with balanced, π = prior

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        steps: steps of Adam.
        lr: learning rate of Adam.
        temperature: factor τ on half the squared distance.
        support_weight: weight of the supports' cross-entropy.
        marginal_weight: weight of the divergence of the mean prediction from the expected
            proportions.
        conditional_weight: weight of the mean entropy of predictions.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        prior: class proportions of the queries; None means uniform.
        balanced: the queries have exactly the proportions of the prior, as the paper assumes.
            Otherwise the expected proportions are those of the first predictions, by the nearest
            class mean.
        prior_strength: pseudo-count per class of the prior in that estimate.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `steps` is below 1, the prior is not positive, `prior_strength` is
            negative or `center` has the wrong length; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("tim", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Boudiaf, Masud, Rony, Dolz, Piantanida, Ben Ayed, 2020, Transductive Information
        Maximization for Few-Shot Learning.

    Deviations:
        The expected proportions are estimated by default (uniform in the paper), with weights
        chosen for this on the validation classes of CIFAR-FS (0.1, 1 and 0.1 in the paper). 100
        steps at 0.001 (1,000 at 0.0001 in the paper, which is the same
        total distance). Features are centered on the
        task's own mean.
    """
    check_prior(prior, prior_strength)
    # An infinite pseudo-count fixes the proportions to the prior.
    target = proportions_from_predictions(prior, math.inf if balanced else prior_strength)
    weights = LossWeights(support_weight, marginal_weight, conditional_weight)
    layer = InformationMaximization(weights, shannon_gradient, temperature, steps, lr, target)
    return information_maximization("tim", encoder, dim, layer, power, center)
