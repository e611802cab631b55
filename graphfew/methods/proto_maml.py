"""Proto-MAML: gradient descent on a linear classifier that starts at the class means."""

from __future__ import annotations

from torch import nn

from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods._inner_loop import inner_loop_layer
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.classifier_starts import prototype_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.step_sizes import RateUnit, StepSizeFactory, fixed_rate, relative_unit


@register_method(paper="Triantafillou et al. 2020", loss=node_loss, works_untrained=True)
def proto_maml(
    encoder: nn.Module,
    *,
    dim: int,
    steps: int = 5,
    test_steps: int | None = None,
    rate: float = 2.0,
    step_sizes: StepSizeFactory = fixed_rate,
    rate_unit: RateUnit = relative_unit,
    momentum: float = 0.0,
    first_order: bool = False,
) -> GraphMethod:
    """Gradient descent on a classifier that starts as the prototypical network's.

    Without steps it is `prototypical`. It works without training.

    Formula:
        w_k = 2 c_k,  b_k = -‖c_k‖²,  c_k = mean_{y_i = k} x_i
        W_{t+1} = W_t - rate_t · ∇_W mean_i CE(W_t x_i + b_t, y_i),  b likewise
        logit_q = W_T x_q + b_T

    The gradient reaches the encoder through the queries, the start and every step.

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
        first_order: treat the gradients of the inner loss as constants in training; the gradient
            through the start remains.

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
        >>> model = gf.create("proto_maml", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Triantafillou, Zhu, Dumoulin et al., 2020, Meta-Dataset: A Dataset of Datasets for Learning
        to Learn from Few Examples.

    Deviations:
        Only the classifier is adapted (the whole network in the paper). Rates are relative to the
        scale of the features by default. Evaluation takes as many steps as training by default
        (more in the published configurations). Supports and queries are encoded with the batch norm
        of the encoder (statistics of the supports in the published code).
    """
    require_positive(rate=rate)
    rule = step_sizes(rate, steps, dim, rate_unit)
    layer = inner_loop_layer(
        prototype_rows(dim),
        rule,
        steps=steps,
        test_steps=test_steps,
        first_order=first_order,
        momentum=momentum,
    )
    return linear_classifier_method(encoder, layer, require_labeled("proto_maml"))
