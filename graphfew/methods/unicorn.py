"""UNICORN-MAML: first-order gradient descent on a classifier whose classes share their start."""

from __future__ import annotations

from torch import nn

from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods._inner_loop import inner_loop_layer
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.classifier_starts import zero_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.step_sizes import RateUnit, StepSizeFactory, learned_rate, relative_unit


@register_method(paper="Ye and Chao 2022", loss=node_loss, works_untrained=True)
def unicorn(
    encoder: nn.Module,
    *,
    dim: int,
    steps: int = 5,
    test_steps: int | None = None,
    rate: float = 4.0,
    step_sizes: StepSizeFactory = learned_rate,
    rate_unit: RateUnit = relative_unit,
    momentum: float = 0.0,
    temperature: float = 0.5,
) -> GraphMethod:
    """Gradient descent from one start for all classes, with constant updates in training.

    Any number of classes works, in any order, with and without training. The paper takes 5 to 20
    steps.

    Formula:
        W_0 = (w, …, w),  b_0 = (b, …, b)
        W_{t+1} = W_t - rate_t · g_t,  g_t = ∇_W mean_i CE(W_t x_i + b_t, y_i),  constant
        logit_q = (W_T x_q + b_T) / temperature

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        steps: number of steps in training.
        test_steps: number of steps in evaluation; None for `steps`.
        rate: initial step size, in the unit below.
        step_sizes: which step sizes are learned: `fixed_rate`, `learned_rate`, `rate_per_step`
            (LSLR), `rate_per_feature` (Meta-SGD) or `rate_per_step_and_feature` of `gf.nn`.
        rate_unit: unit of the step sizes: `relative_unit`, the inverse of the supports' mean
            squared length (plus 1 for the bias), or `absolute_unit`.
        momentum: factor on the previous update.
        temperature: divides the logits of queries, but not those of the inner loss.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if an argument is out of range, or there are more steps than step sizes;
            later, if a task has unlabeled nodes.
        NumericalError: later, if the inner loop diverges.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("unicorn", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Ye, Chao, 2022, How to Train Your MAML to Excel in Few-Shot Classification.

    Deviations:
        Only the classifier is adapted (the whole network in the paper). The shared start is zero:
        adding one vector to all rows changes no softmax, so a learned w and b have gradient 0 and
        no influence on predictions. Rates are relative to the scale of the features, and learned,
        by default (0.1 with a mean loss in the paper). Supports and queries are encoded with the
        batch norm of the encoder (its statistics move with the supports in the published code).
    """
    require_positive(rate=rate)
    rule = step_sizes(rate, steps, dim, rate_unit)
    layer = inner_loop_layer(
        zero_rows(dim),
        rule,
        steps=steps,
        test_steps=test_steps,
        first_order=True,
        momentum=momentum,
        temperature=temperature,
    )
    return linear_classifier_method(encoder, layer, require_labeled("unicorn"))
