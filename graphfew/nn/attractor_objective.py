"""Linear classifiers near a given one: minimum of a cross-entropy plus a quadratic attraction.

Newton's method finds the minimum, and the implicit function theorem differentiates it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from graphfew.ops.tracing import is_traced
from graphfew.propagation.solvers import conjugate_gradients

NEWTON_STEPS = 20
CONJUGATE_GRADIENT_STEPS = 60
CONJUGATE_GRADIENT_TOLERANCE = 1e-12
# Largest direction, relative to the weights, after which Newton's method stops.
CONVERGED = 1e-10
STEP_SIZES = (1.0, 0.5, 0.25, 0.1, 0.02)


@dataclasses.dataclass(frozen=True)
class AttractorObjective:
    """Objective of the novel weights `w`: support cross-entropy plus a quadratic attractor term.

    The cross-entropy is over base and novel classes; the attractor term is
    `Σ_k (w_k - u_k)ᵀ diag(γ) (w_k - u_k)`.

    Attributes:
        x: `[G, n, F]` node features.
        label: `[G, n, way]` one-hot labels; zero rows for unlabeled nodes and queries.
        base_logits: `[G, n, n_base]` logits of the base classes; `n_base` may be 0.
        attractor: `[G, way, F]`, the attractors `u`.
        stiffness: `[F]`, the diagonal `γ`, or `[G, 1, 1]` for one number per task.

    Example:
        >>> import torch
        >>> from graphfew.nn.attractor_objective import AttractorObjective
        >>> x, label = torch.eye(2)[None], torch.eye(2)[None]
        >>> nothing, zero = torch.zeros(1, 2, 0), torch.zeros(1, 2, 2)
        >>> AttractorObjective(x, label, nothing, zero, torch.ones(2)).value(zero)
        tensor([0.6931])
    """

    x: Tensor
    label: Tensor
    base_logits: Tensor
    attractor: Tensor
    stiffness: Tensor

    def value(self, w: Tensor) -> Tensor:
        """Return the objective of each task, `[G]`."""
        is_support = self.label.sum(2)
        novel_logits = torch.bmm(self.x, w.mT)
        logits = torch.cat([self.base_logits, novel_logits], dim=2)
        log_partition = logits.logsumexp(2) * is_support
        cross_entropy = log_partition - (novel_logits * self.label).sum(2)
        attraction = (self.stiffness * (w - self.attractor).square()).sum((1, 2))
        return cross_entropy.sum(1) / is_support.sum(1) + attraction

    def gradient(self, w: Tensor) -> Tensor:
        """Return the gradient with respect to `w`, `[G, way, F]`."""
        residual = (self._novel_probs(w) - self.label) * self._support_weight()
        return torch.bmm(residual.mT, self.x) + 2 * self.stiffness * (w - self.attractor)

    def hessian(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the Hessian-vector product at `w`, a function of `[G, way, F]`."""
        probs = self._novel_probs(w)

        def product(v: Tensor) -> Tensor:
            logit_change = torch.bmm(self.x, v.mT)
            # Jacobian of the softmax, restricted to the novel classes: diag(p) - p pᵀ.
            mean_change = (probs * logit_change).sum(2, keepdim=True)
            prob_change = probs * (logit_change - mean_change) * self._support_weight()
            return torch.bmm(prob_change.mT, self.x) + 2 * self.stiffness * v

        return product

    def detach(self) -> AttractorObjective:
        """Return the same objective without gradient history."""
        tensors = (getattr(self, field.name) for field in dataclasses.fields(self))
        return AttractorObjective(*(tensor.detach() for tensor in tensors))

    def _support_weight(self) -> Tensor:
        is_support = self.label.sum(2, keepdim=True)
        return is_support / is_support.sum(1, keepdim=True)

    def _novel_probs(self, w: Tensor) -> Tensor:
        # Base classes take part in the softmax, but their weights are fixed.
        logits = torch.cat([self.base_logits, torch.bmm(self.x, w.mT)], dim=2)
        return logits.softmax(2)[:, :, -w.shape[1] :]


def solve_per_task(product: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
    """Solve `product(v) = target` per task, `[G, way, F]`, for a positive definite `product`."""

    def column_product(columns: Tensor) -> Tensor:
        return product(columns.T.reshape(target.shape)).flatten(1).T

    # One task is one column. The last iterate is used as it is: Newton's method tolerates an
    # inexact direction, and features can be so large that no direction is finite.
    solution = conjugate_gradients(
        column_product,
        target.flatten(1).T.contiguous(),
        tolerance=CONJUGATE_GRADIENT_TOLERANCE,
        max_iterations=CONJUGATE_GRADIENT_STEPS,
        require_convergence=False,
    )
    return solution.T.reshape(target.shape)


def newton_iterations(objective: AttractorObjective) -> Tensor:
    """Minimize the objective by Newton's method with a line search over `STEP_SIZES` per task.

    If features are so large that every candidate has a non-finite value, `w` does not change.
    """
    w = _newton_start(objective)
    task = torch.arange(len(w), device=w.device)
    for _ in range(NEWTON_STEPS):
        direction = solve_per_task(objective.hessian(w), objective.gradient(w))
        # A full Newton step can overshoot where the softmax saturates.
        candidates = torch.stack([w - step_size * direction for step_size in STEP_SIZES])
        values = torch.stack([objective.value(candidate) for candidate in candidates])
        values = values.nan_to_num(torch.inf, torch.inf)
        best_value = values.amin(0)
        # Near the minimum the values differ by rounding only, and the full step is the best.
        rounding = 8 * torch.finfo(values.dtype).eps * (1 + best_value.abs())
        best = (values <= best_value + rounding).to(torch.uint8).argmax(0)
        is_finite = best_value.isfinite()[:, None, None]
        w = torch.where(is_finite, candidates[best, task], w)
        # Newton's method converges quadratically: the next steps would change rounding only.
        if not is_traced() and bool((direction.abs() <= CONVERGED * (1 + w.abs())).all()):
            break
    return w


def _newton_start(objective: AttractorObjective) -> Tensor:
    """Return the better of the attractor, and the nearest weights with logits 0 at the mean support.

    Where features have much in common, such as after a ReLU, all supports have almost the logits of
    their mean. If these saturate the softmax, Newton's method fails.
    """
    attractor = objective.attractor
    is_support = objective.label.sum(2, keepdim=True)
    direction = F.normalize((is_support * objective.x).sum(1, keepdim=True), dim=2)
    common = torch.bmm(attractor, direction.mT)
    starts = torch.stack([attractor, attractor - common * direction])
    values = torch.stack([objective.value(start) for start in starts])
    best = values.nan_to_num(torch.inf, torch.inf).argmin(0)
    return starts[best, torch.arange(len(attractor), device=attractor.device)]


class _ImplicitGradient(torch.autograd.Function):
    """Identity on the solution whose backward pass differentiates `gradient(solution) = 0`."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, solution: Tensor, product: Callable[[Tensor], Tensor]
    ) -> Tensor:
        del gradient
        ctx.product = product
        return solution.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        # At the minimum, ∂w/∂θ = -H⁻¹ ∂gradient/∂θ. Autograd supplies the second factor, because
        # `gradient` is a differentiable function of θ; one linear solve supplies the first.
        return -solve_per_task(ctx.product, grads[0]), None, None


def minimizer(objective: AttractorObjective) -> Tensor:
    """Return the minimizer `[G, way, F]`, differentiable by the implicit function theorem.

    Args:
        objective: the objectives of G tasks; the result is differentiable with respect to all
            their tensors.

    Returns:
        The weights `[G, way, F]` at the end of Newton's method. First derivatives only.

    Example:
        >>> import torch
        >>> from graphfew.nn.attractor_objective import AttractorObjective, minimizer
        >>> x, label = torch.eye(2)[None], torch.eye(2)[None]
        >>> nothing, zero = torch.zeros(1, 2, 0), torch.zeros(1, 2, 2)
        >>> minimizer(AttractorObjective(x, label, nothing, zero, torch.ones(2))).shape
        torch.Size([1, 2, 2])
    """
    # The iterations are not recorded; only the implicit gradient at their end is.
    with torch.no_grad():
        fixed = objective.detach()
        solution = newton_iterations(fixed)
        product = fixed.hessian(solution)
    gradient = objective.gradient(solution)
    out: Tensor = _ImplicitGradient.apply(gradient, solution, product)  # type: ignore[no-untyped-call]
    return out
