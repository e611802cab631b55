"""Gradient descent on a linear classifier of each task, as messages on the support graph.

Gradient descent on the mean cross-entropy keeps the weights in the span of the start and the
supports: `W_t = W_0 - A_tᵀ X D`. The loop therefore runs on the `[S, way]` coefficients A. Supports
are nodes, the kernel `X D Xᵀ` holds the edges between them, and each step is one product. The
gradient of the cross-entropy is written out, so the loop needs no autograd of its own: it works
under `torch.no_grad()`, and differentiating it gives the exact second-order gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.supports import Supports
from graphfew.errors import NumericalError
from graphfew.nn.linear_classifier import LinearWeights
from graphfew.ops.tracing import is_traced

# The cross-entropy of a converging loop decreases, and a rate that is several times too large makes
# it grow a few hundred times.
DIVERGED_LOSS_RATIO = 1e4


@dataclasses.dataclass(frozen=True, eq=False)
class StepSizes:
    """The step sizes of T steps; arrays of one task apply to all tasks.

    Attributes:
        rate: `[G, T]` or `[1, T]`, the rate of each step.
        feature: factors on the rate per feature, `[G, T, F]`; each of the first two dimensions may
            be 1. None for 1.
        bias: `[G, T]` or `[1, T]`, the rate of the bias at each step; None for `rate`.
    """

    rate: Float[Tensor, "G T"]
    feature: Float[Tensor, "G2 T2 F"] | None = None
    bias: Float[Tensor, "G3 T"] | None = None


HeadStart = Callable[[Supports], LinearWeights]
StepSizeRule = Callable[[Supports, int], StepSizes]


class InnerLoop(nn.Module):
    """Fit of a linear classifier by a few steps of gradient descent, for `LinearClassifier`.

    Args:
        start: `supports -> LinearWeights`, the weights before the first step.
        step_sizes: `(supports, steps) -> StepSizes`.
        steps: number of steps in training.
        test_steps: number of steps in evaluation.
        first_order: whether gradients of the inner loss are constants in training.
        momentum: factor on the previous update.
        temperature: divides the logits of the adapted classifier, but not those of the inner loss.
    """

    def __init__(
        self,
        start: HeadStart,
        step_sizes: StepSizeRule,
        steps: int,
        *,
        test_steps: int,
        first_order: bool = False,
        momentum: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.start = start
        self.step_sizes = step_sizes
        self.steps = steps
        self.test_steps = test_steps
        self.first_order = first_order
        self.momentum = momentum
        self.temperature = temperature

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the adapted classifier of each task."""
        steps = self.steps if self.training else self.test_steps
        # A step size in units of the features' scale is a part of the update.
        is_constant = self.first_order
        inputs = dataclasses.replace(supports, x=supports.x.detach()) if is_constant else supports
        # The products between items would lose too many digits in the precision of autocast.
        with torch.autocast(supports.x.device.type, enabled=False):
            adapted = adapt_weights(
                supports,
                self.start(supports),
                self.step_sizes(inputs, steps),
                first_order=self.first_order,
                momentum=self.momentum,
            )
        if self.temperature == 1:
            return adapted
        scale = 1 / self.temperature
        bias = None if adapted.bias is None else scale * adapted.bias
        return LinearWeights(scale * adapted.weight, bias)


def adapt_weights(
    supports: Supports,
    start: LinearWeights,
    step_sizes: StepSizes,
    *,
    first_order: bool = False,
    momentum: float = 0.0,
) -> LinearWeights:
    """Adapt a linear classifier to the labeled nodes of each task by gradient descent.

    Formula:
        G_t = ∇ mean_i CE(W_t x_i + b_t, y_i)
        V_t = μ V_{t-1} + G_t,  W_{t+1} = W_t - rate_t · V_t · diag(feature_t)

    In kernel form, with `K_t = rate_t · X diag(feature_t) Xᵀ + bias_t`, the logits of the supports
    L and one-hot labels Y, this is

        R_t = (softmax(L_t) - Y) / n,  V_t = μ V_{t-1} + R_t,  L_{t+1} = L_t - K_t V_t
        W_T = W_0 - Σ_t rate_t V_tᵀ X diag(feature_t)

    Everything is differentiable: features, start and step sizes. The loss is a mean over each
    task's own labeled nodes: for a rate that is published for a sum over N·K supports, multiply it
    by N·K; for that sum divided by K (MAML's code), by N.

    Args:
        supports: the supports of G tasks, see `gather_supports`.
        start: `W_0` and `b_0` of each task; without a bias, the result has none either.
        step_sizes: the rates of T steps; T = 0 returns the start.
        first_order: treat the gradients `V_t` as constants: the result has gradients with respect
            to the start and the step sizes, but not to the features of the supports.
        momentum: μ.

    Returns:
        The adapted weights, in the dtype of the features; the steps run in float64.

    Raises:
        NumericalError: the loop diverged: the loss is not finite or ten thousand times the first.

    Example:
        >>> import torch
        >>> from graphfew.core.supports import Supports
        >>> from graphfew.nn.inner_loop import LinearWeights, StepSizes, adapt_weights
        >>> eye, mask = torch.eye(2)[None], torch.ones(1, 2, dtype=torch.bool)
        >>> supports = Supports(eye, one_hot=eye, mask=mask, nodes=torch.arange(2)[None])
        >>> start = LinearWeights(torch.zeros(1, 2, 2))
        >>> adapt_weights(supports, start, StepSizes(torch.tensor([[1.0]]))).weight.tolist()
        [[[0.25, -0.25], [-0.25, 0.25]]]

    Source:
        Finn, Abbeel, Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep
        Networks.

    Deviations:
        Only the linear classifier is adapted. The loss is a mean (a sum over the supports divided
        by the shots in the published code).
    """
    if not step_sizes.rate.shape[1]:
        return start
    if first_order:
        supports = dataclasses.replace(supports, x=supports.x.detach())
    with torch.set_grad_enabled(torch.is_grad_enabled() and not first_order):
        velocities = _descend(supports, start, step_sizes, momentum)
    return _apply_updates(supports.x, start, step_sizes, velocities)


def _descend(
    supports: Supports, start: LinearWeights, step_sizes: StepSizes, momentum: float
) -> list[Tensor]:
    """Return V_t of each step, transposed to `[G, way, S]`, in float64."""
    # float64, because steps amplify rounding, which depends on the batch. The products over
    # features, which take most of the time, keep the dtype of the features.
    kernels = [kernel.double() for kernel in _kernels(supports.x, step_sizes.feature)]
    rates = step_sizes.rate.double()
    bias_rates = _bias_rates(start, step_sizes)
    # torch's softmax is many times faster over few classes if the nodes are contiguous.
    label = supports.one_hot.mT.double().contiguous()
    is_support = supports.mask.double()[:, None]
    weight = is_support / is_support.sum(2, keepdim=True)
    first_logits = start.logits(supports.x).mT.double()
    logits = first_logits
    velocity = torch.zeros_like(logits)
    velocities = []
    for step in range(rates.shape[1]):
        gradient = (logits.softmax(1) - label) * weight
        velocity = momentum * velocity + gradient if momentum else gradient
        velocities.append(velocity)
        # One kernel serves all steps unless the rates of the features differ between steps. It is
        # symmetric.
        kernel = kernels[min(step, len(kernels) - 1)]
        update = rates[:, step, None, None] * velocity
        logits = torch.baddbmm(logits, update, kernel, alpha=-1)
        if bias_rates is not None:
            logits = logits - bias_rates[:, step, None, None] * velocity.sum(2, keepdim=True)
    _check_loss(first_logits, logits, label, rates)
    return velocities


def _kernels(x: Tensor, feature: Tensor | None) -> list[Tensor]:
    """Return `X diag(feature_t) Xᵀ`, `[G, S, S]`, of each row of the features' factors."""
    if feature is None:
        return [torch.bmm(x, x.mT)]
    return [torch.bmm(x * factor[:, None], x.mT) for factor in feature.to(x).unbind(1)]


def _apply_updates(
    x: Tensor, start: LinearWeights, step_sizes: StepSizes, velocities: list[Tensor]
) -> LinearWeights:
    """Subtract the sum of all updates from the start."""
    velocity = torch.stack(velocities, dim=1)
    rates = step_sizes.rate.double()
    updates = (rates[..., None, None] * velocity).to(x)
    feature = step_sizes.feature
    if feature is None:
        weight = torch.baddbmm(start.weight.to(x), updates.sum(1), x, alpha=-1)
    elif feature.shape[1] == 1:
        # The features' factors are those of every step, so one product serves the sum.
        weight = start.weight - torch.bmm(updates.sum(1), x) * feature.to(x)
    else:
        per_step = torch.einsum("gtkn,gnf->gtkf", updates, x)
        weight = start.weight - (per_step * feature.to(x)[:, :, None]).sum(1)
    bias_rates = _bias_rates(start, step_sizes)
    if start.bias is None or bias_rates is None:
        return LinearWeights(weight)
    bias_update = (bias_rates[..., None] * velocity.sum(3)).sum(1)
    return LinearWeights(weight, start.bias - bias_update.to(start.bias))


def _bias_rates(start: LinearWeights, step_sizes: StepSizes) -> Tensor | None:
    if start.bias is None:
        return None
    bias = step_sizes.rate if step_sizes.bias is None else step_sizes.bias
    return bias.double()


@torch.no_grad()
def _check_loss(first: Tensor, last: Tensor, label: Tensor, rates: Tensor) -> None:
    """Raise an error if the loss of a task has become far larger than at the start."""
    if is_traced():
        return
    # The loss is at most the range of the logits plus log(way), so that this is enough mostly.
    if bool(last.abs().amax() < DIVERGED_LOSS_RATIO / 4):
        return
    first_loss, loss = _mean_loss(first, label), _mean_loss(last, label)
    limit = DIVERGED_LOSS_RATIO * (1 + first_loss)
    has_diverged = ~(loss <= limit)
    if not bool(has_diverged.any()):
        return
    task = int(has_diverged.nonzero()[0])
    rate = float(rates.expand(len(loss), -1)[task].abs().max())
    raise NumericalError(
        f"the inner loop diverged: after {rates.shape[1]} steps at a rate of {rate:.3g} the "
        f"support loss is {float(loss[task]):.3g} ({float(first_loss[task]):.3g} at the start); "
        f"use a smaller rate, or normalize the features"
    )


def _mean_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the mean cross-entropy of the labeled nodes of each task, `[G]`, from `[G, way, S]`."""
    total = -(F.log_softmax(logits, dim=1) * label).sum((1, 2))
    return total / label.sum((1, 2))
