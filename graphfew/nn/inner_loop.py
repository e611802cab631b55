"""Gradient descent on a linear classifier of each task, as messages on the support graph.

Gradient descent on the mean cross-entropy keeps the weights in the span of the start and the
supports: `W_t = W_0 - A_tᵀ X D`. The loop therefore runs on the `[S, way]` coefficients A. Supports
are nodes, the kernel `X D Xᵀ` holds the edges between them, and each step is one product. The
gradient of the cross-entropy is written out, so the loop needs no autograd of its own: it works
under `torch.no_grad()`, and differentiating it gives the exact second-order gradient.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils import _python_dispatch

from graphfew.core.dense_batch import DenseBatch
from graphfew.errors import InvalidInputError, NumericalError

# The cross-entropy of a converging loop decreases, and a rate that is several times too large makes
# it grow a few hundred times.
DIVERGED_LOSS_RATIO = 1e4


@dataclasses.dataclass(frozen=True, eq=False)
class TaskHeads:
    """Linear classifiers, one per task.

    Attributes:
        weight: `[G, way, F]`.
        bias: `[G, way]`.

    Example:
        >>> import torch
        >>> from graphfew.nn.inner_loop import TaskHeads
        >>> heads = TaskHeads(torch.ones(1, 2, 3), torch.tensor([[0.0, 1.0]]))
        >>> heads.logits(torch.ones(1, 1, 3))
        tensor([[[3., 4.]]])
    """

    weight: Float[Tensor, "G way F"]
    bias: Float[Tensor, "G way"]

    def logits(self, x: Float[Tensor, "G n F"]) -> Float[Tensor, "G n way"]:
        """Return the logits of the nodes `[G, n, F]` of each task, `[G, n, way]`."""
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)

    def detach(self) -> TaskHeads:
        """Return the same classifiers without gradient history."""
        return TaskHeads(self.weight.detach(), self.bias.detach())


@dataclasses.dataclass(frozen=True, eq=False)
class StepSizes:
    """The step sizes of T steps; arrays of one task apply to all tasks.

    Attributes:
        rate: `[G, T]` or `[1, T]`, the rate of each step.
        feature: factors on the rate per feature, `[G, T, F]`; each of the first two dimensions may
            be 1. None for 1.
        bias: `[G, T]` or `[1, T]`, the rate of the bias at each step, zeros to keep the bias fixed;
            None for `rate`.
    """

    rate: Float[Tensor, "G T"]
    feature: Float[Tensor, "G2 T2 F"] | None = None
    bias: Float[Tensor, "G3 T"] | None = None


def support_batch(tasks: DenseBatch) -> DenseBatch:
    """Remove the queries of a batch of tasks.

    Args:
        tasks: G tasks of n nodes.

    Returns:
        The batch with the S nodes of each task that are not queries, in the order of the episode,
        without edges. Where tasks differ in S, nodes without a label fill up the shorter ones.

    Example:
        >>> import torch
        >>> from graphfew.core.dense_batch import DenseBatch
        >>> from graphfew.nn.inner_loop import support_batch
        >>> query = torch.tensor([[True, False, False]])
        >>> tasks = DenseBatch(torch.zeros(1, 3, 4), torch.zeros(1, 3, 2), query)
        >>> support_batch(tasks).x.shape
        torch.Size([1, 2, 4])
    """
    n_tasks, n_nodes = tasks.query.shape
    n_support = int((~tasks.query).sum(1).max())
    # Stable, so that rounding does not depend on where the queries are.
    is_query = tasks.query.to(torch.uint8)
    order = is_query.argsort(dim=1, stable=True)[:, :n_support]
    first_node = n_nodes * torch.arange(n_tasks, device=order.device)
    nodes = (first_node[:, None] + order).flatten()

    def take(values: Tensor) -> Tensor:
        # Rows of a flat array: the backward pass of `index_select` is the fastest.
        rows = values.flatten(0, 1).index_select(0, nodes)
        return rows.view(n_tasks, n_support, *values.shape[2:])

    return DenseBatch(
        take(tasks.x), take(tasks.one_hot), take(tasks.query), class_nodes=tasks.class_nodes
    )


def adapt_heads(
    supports: DenseBatch,
    start: TaskHeads,
    step_sizes: StepSizes,
    *,
    first_order: bool = False,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> TaskHeads:
    """Adapt a linear classifier to the labeled nodes of each task by gradient descent.

    Formula:
        G_t = ∇ [mean_i CE(W_t x_i + b_t, y_i) + (λ/2) (‖W_t - W_0‖² + ‖b_t - b_0‖²)]
        V_t = μ V_{t-1} + G_t,  W_{t+1} = W_t - rate_t · V_t · diag(feature_t)

    In kernel form, with `K_t = rate_t · X diag(feature_t) Xᵀ + bias_t`, the logits of the supports
    L and one-hot labels Y, this is

        R_t = (softmax(L_t) - Y) / n,  V_t = μ V_{t-1} + R_t - λ A_t,  L_{t+1} = L_t - K_t V_t
        A_{t+1} = A_t + rate_t V_t,  W_T = W_0 - Σ_t rate_t V_tᵀ X diag(feature_t)

    Everything is differentiable: features, start and step sizes. The loss is a mean over each
    task's own labeled nodes: for a rate that is published for a sum over N·K supports, multiply it
    by N·K; for that sum divided by K (MAML's code), by N.

    Args:
        supports: tasks of S nodes, see `support_batch`; nodes without a label are ignored.
        start: `W_0` and `b_0` of each task.
        step_sizes: the rates of T steps; T = 0 returns the start.
        first_order: treat the gradients `V_t` as constants: the result has gradients with respect
            to the start and the step sizes, but not to the features of the supports.
        momentum: μ.
        weight_decay: λ, pulls the weights and the bias toward the start.

    Returns:
        The adapted classifiers, in the dtype of the features; the steps run in float64.

    Raises:
        InvalidInputError: `weight_decay` with step sizes that differ between weights.
        NumericalError: the loop diverged: the loss is not finite or ten thousand times the first.

    Example:
        >>> import torch
        >>> from graphfew.core.dense_batch import DenseBatch
        >>> from graphfew.nn.inner_loop import StepSizes, TaskHeads, adapt_heads
        >>> tasks = DenseBatch(torch.eye(2)[None], torch.eye(2)[None], torch.zeros(1, 2).bool())
        >>> start = TaskHeads(torch.zeros(1, 2, 2), torch.zeros(1, 2))
        >>> adapt_heads(tasks, start, StepSizes(torch.tensor([[1.0]]))).weight
        tensor([[[ 0.2500, -0.2500],
                 [-0.2500,  0.2500]]])

    Source:
        Finn, Abbeel, Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep
        Networks.

    Deviations:
        Only the linear classifier is adapted. The loss is a mean (a sum over the supports divided
        by the shots in the published code).
    """
    if weight_decay and not (step_sizes.feature is None and step_sizes.bias is None):
        raise InvalidInputError(
            "weight_decay needs one step size for all weights and the bias of a step; omit "
            "weight_decay, or use one rate per step"
        )
    if not step_sizes.rate.shape[1]:
        return start
    if first_order:
        supports = dataclasses.replace(supports, x=supports.x.detach())
    with torch.set_grad_enabled(torch.is_grad_enabled() and not first_order):
        velocities = _descend(supports, start, step_sizes, momentum, weight_decay)
    return _apply_updates(supports.x, start, step_sizes, velocities)


def _descend(
    supports: DenseBatch,
    start: TaskHeads,
    step_sizes: StepSizes,
    momentum: float,
    weight_decay: float,
) -> list[Tensor]:
    """Return V_t of each step, `[G, S, way]` in float64."""
    # float64, because steps amplify rounding, which depends on the batch. The products over
    # features, which take most of the time, keep the dtype of the features.
    kernels = [kernel.double() for kernel in _kernels(supports.x, step_sizes.feature)]
    rates = step_sizes.rate.double()
    bias_rates = rates if step_sizes.bias is None else step_sizes.bias.double()
    label = supports.one_hot.double()
    is_labeled = label.sum(2, keepdim=True)
    weight = is_labeled / is_labeled.sum(1, keepdim=True)
    first_logits = start.logits(supports.x).double()
    logits = first_logits
    coefficients = torch.zeros_like(logits)
    velocity = torch.zeros_like(logits)
    velocities = []
    for step in range(rates.shape[1]):
        gradient = (logits.softmax(2) - label) * weight
        if weight_decay:
            gradient = gradient - weight_decay * coefficients
        velocity = momentum * velocity + gradient if momentum else gradient
        velocities.append(velocity)
        rate = rates[:, step, None, None]
        bias_change = bias_rates[:, step, None, None] * velocity.sum(1, keepdim=True)
        # One kernel serves all steps unless the rates of the features differ between steps.
        kernel = kernels[min(step, len(kernels) - 1)]
        logits = logits - rate * torch.bmm(kernel, velocity) - bias_change
        if weight_decay:
            coefficients = coefficients + rate * velocity
    _check_loss(first_logits, logits, label, rates)
    return velocities


def _kernels(x: Tensor, feature: Tensor | None) -> list[Tensor]:
    """Return `X diag(feature_t) Xᵀ`, `[G, S, S]`, of each row of the features' factors."""
    if feature is None:
        return [torch.bmm(x, x.mT)]
    return [torch.bmm(x * factor[:, None], x.mT) for factor in feature.to(x).unbind(1)]


def _apply_updates(
    x: Tensor, start: TaskHeads, step_sizes: StepSizes, velocities: list[Tensor]
) -> TaskHeads:
    """Subtract the sum of all updates from the start."""
    velocity = torch.stack(velocities, dim=1)
    rates = step_sizes.rate.double()
    bias_rates = rates if step_sizes.bias is None else step_sizes.bias.double()
    bias_update = (bias_rates[..., None] * velocity.sum(2)).sum(1)
    updates = (rates[..., None, None] * velocity).to(x)
    feature = step_sizes.feature
    if feature is None or feature.shape[1] == 1:
        # The features' factors are those of every step, so one product serves the sum.
        weight_update = torch.bmm(updates.sum(1).mT, x)
        if feature is not None:
            weight_update = weight_update * feature.to(x)
    else:
        per_step = torch.einsum("gtnk,gnf->gtkf", updates, x)
        weight_update = (per_step * feature.to(x)[:, :, None]).sum(1)
    return TaskHeads(start.weight - weight_update, start.bias - bias_update.to(start.bias))


@torch.no_grad()
def _check_loss(first: Tensor, last: Tensor, label: Tensor, rates: Tensor) -> None:
    """Raise an error if the loss of a task has become far larger than at the start."""
    # A compiled or exported program cannot read values.
    is_traced = _python_dispatch._get_current_dispatch_mode() is not None
    if is_traced or torch.compiler.is_compiling():
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
    """Return the mean cross-entropy of the labeled nodes of each task, `[G]`."""
    total = -(F.log_softmax(logits, dim=2) * label).sum((1, 2))
    return total / label.sum((1, 2))
