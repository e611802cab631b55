"""ANIL: gradient descent on a linear classifier with a learned start for each class."""

from __future__ import annotations

from torch import nn

from graphfew.methods._checks import combine_checks, require_labeled, require_positive, require_way
from graphfew.methods._inner_loop import inner_loop_layer
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.classifier_starts import own_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.step_sizes import RateUnit, StepSizeFactory, fixed_rate, relative_unit


@register_method(
    paper="Raghu et al. 2020", loss=node_loss, fixed_way=True, class_order_matters=True
)
def anil(
    encoder: nn.Module,
    *,
    dim: int,
    way: int = 5,
    steps: int = 5,
    test_steps: int | None = None,
    rate: float = 4.0,
    step_sizes: StepSizeFactory = fixed_rate,
    rate_unit: RateUnit = relative_unit,
    momentum: float = 0.0,
    first_order: bool = False,
) -> GraphMethod:
    """MAML whose inner loop adapts the classifier only ("almost no inner loop").

    Each class has a learned start, so the order of the classes matters: a task whose classes are
    numbered differently gets other predictions. `proto_maml` and `zero_head` do not have this
    problem, and take any number of classes.

    Formula:
        W_0, b_0: learned, one row per class
        W_{t+1} = W_t - rate_t · ∇_W mean_i CE(W_t x_i + b_t, y_i),  b likewise
        logit_q = W_T x_q + b_T

    The gradient reaches the encoder through the queries and through every step.

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        way: number of classes of every task.
        steps: number of steps in training.
        test_steps: number of steps in evaluation; None for `steps`.
        rate: initial step size, in the unit below.
        step_sizes: which step sizes are learned: `fixed_rate`, `learned_rate`, `rate_per_step`
            (LSLR), `rate_per_feature` (Meta-SGD) or `rate_per_step_and_feature` of `gf.nn`.
        rate_unit: unit of the step sizes: `relative_unit`, the inverse of the supports' mean
            squared length (plus 1 for the bias), or `absolute_unit`.
        momentum: factor on the previous update.
        first_order: treat the gradients of the inner loss as constants in training.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if an argument is out of range, or there are more steps than step sizes;
            later, if a task has unlabeled nodes or another number of classes.
        NumericalError: later, if the inner loop diverges.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("anil", encoder=gf.backbones.identity(8), way=2)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Raghu, Raghu, Bengio, Vinyals, 2020, Rapid Learning or Feature Reuse? Towards Understanding
        the Effectiveness of MAML.

    Deviations:
        Supports and queries are encoded with the batch norm of the encoder (statistics of the
        whole task in the published code). Rates are relative to the scale of the features by
        default. The inner loss is a mean over the supports; multiply the rate of a sum over
        supports divided by the shots, as in MAML's code, by the number of classes.
    """
    require_positive(rate=rate)
    rule = step_sizes(rate, steps, dim, rate_unit)
    layer = inner_loop_layer(
        own_rows(dim, way),
        rule,
        steps=steps,
        test_steps=test_steps,
        first_order=first_order,
        momentum=momentum,
    )
    check = combine_checks(require_labeled("anil"), require_way("anil", way))
    return linear_classifier_method(encoder, layer, check)
