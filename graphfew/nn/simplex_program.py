"""Quadratic programs over rows of probabilities, in batches, with implicit gradients."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graphfew.errors import NumericalError

MAX_ITERATIONS = 60
# Stop when the largest product of a probability and its multiplier is this small.
TOLERANCE = 1e-12
# The fraction of the step to the boundary that is taken.
STEP_FRACTION = 0.995


@dataclasses.dataclass(frozen=True, eq=False)
class _Iterate:
    """Primal and dual variables of the interior-point method.

    Attributes:
        probs: `[G, S, C]`, positive; each row sums to 1.
        slack: `[G, S, C]`, positive multipliers of `probs >= 0`.
        offset: `[G, S]`, multipliers of the row sums.
    """

    probs: Tensor
    slack: Tensor
    offset: Tensor

    def move(self, step: _Iterate, length: Tensor) -> _Iterate:
        """Return the iterate after a step of a length per task, `[G]`."""
        size = length[:, None, None]
        return _Iterate(
            self.probs + size * step.probs,
            self.slack + size * step.slack,
            self.offset + length[:, None] * step.offset,
        )


class _KktSystem:
    """The linear system of a Newton step, factorized: `H + diag(slack / probs)` and row sums of 0.

    The matrix is block-diagonal over the classes C apart from the row sums, so that C systems of
    S equations and one for the multipliers replace one system of S · C equations.
    """

    def __init__(self, hessian: Tensor, barrier: Tensor) -> None:
        blocks = hessian[:, None] + torch.diag_embed(barrier.mT)
        factor, _ = torch.linalg.cholesky_ex(blocks)
        self.inverse = torch.cholesky_inverse(factor)
        self.schur, _ = torch.linalg.cholesky_ex(self.inverse.sum(1))

    def solve(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the change `[G, S, C]`, with row sums of 0, and the change of the offsets."""
        unconstrained = self._apply(target)
        row_sums = unconstrained.sum(2, keepdim=True)
        offset = -torch.cholesky_solve(row_sums, self.schur)
        return unconstrained + self._apply(offset.expand_as(target)), offset[:, :, 0]

    def _apply(self, target: Tensor) -> Tensor:
        return torch.einsum("gcij,gjc->gic", self.inverse, target)


def minimize_over_simplices(
    hessian: Float[Tensor, "G S S"], linear: Float[Tensor, "G S C"]
) -> Float[Tensor, "G S C"]:
    """Minimize `½ Σ_c p_cᵀ H p_c + Σ L ⊙ P` over matrices P whose rows are probabilities.

    Solved by a primal-dual interior-point method, and differentiated by the implicit function
    theorem at the solution.

    Args:
        hessian: H, symmetric and positive definite.
        linear: L.

    Returns:
        P, `[G, S, C]`; rows are not negative and sum to 1. First derivatives only.

    Raises:
        NumericalError: the tolerance was not reached.

    Example:
        >>> import torch
        >>> from graphfew.nn.simplex_program import minimize_over_simplices
        >>> linear = torch.tensor([[[0.0, 0.5, 9.0]]], dtype=torch.float64)
        >>> minimize_over_simplices(torch.eye(1).double()[None], linear).round(decimals=6)
        tensor([[[0.7500, 0.2500, 0.0000]]], dtype=torch.float64)

    Source:
        Mehrotra, 1992, On the Implementation of a Primal-Dual Interior Point Method; the gradient:
        Amos, Kolter, 2017, OptNet.

    Deviations:
        none.
    """
    with torch.no_grad():
        solution = _interior_point(hessian.detach(), linear.detach())
        system = _KktSystem(hessian.detach(), solution.slack / solution.probs)
    gradient = torch.bmm(hessian, solution.probs) + linear
    out: Tensor = _ImplicitSolution.apply(gradient, solution.probs, system)  # type: ignore[no-untyped-call]
    return out


class _ImplicitSolution(torch.autograd.Function):
    """The solution, whose backward pass differentiates the optimality conditions."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, probs: Tensor, system: _KktSystem) -> Tensor:
        del gradient
        ctx.system = system
        return probs.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        # The system is symmetric, so its solution is also that of the transposed system.
        change, _ = ctx.system.solve(grads[0])
        return -change, None, None


def _interior_point(hessian: Tensor, linear: Tensor) -> _Iterate:
    state = _start(hessian, linear)
    is_done = torch.zeros(len(linear), dtype=torch.bool, device=linear.device)
    for _ in range(MAX_ITERATIONS):
        is_done = _is_converged(state, hessian, linear)
        if bool(is_done.all()):
            return state
        step = _predictor_corrector(state, hessian, linear)
        length = torch.minimum(
            _step_length(state.probs, step.probs), _step_length(state.slack, step.slack)
        )
        # A finished task does not move, so that its solution does not depend on the others.
        state = state.move(step, torch.where(is_done, 0, length))
    is_finite = state.probs.isfinite().all(2).all(1)
    n_failed = int((is_finite & ~_is_converged(state, hessian, linear)).sum())
    if n_failed:
        raise NumericalError(
            f"the interior-point method did not converge in {MAX_ITERATIONS} iterations for "
            f"{n_failed} of {len(linear)} tasks; use features of similar lengths or more "
            f"regularization"
        )
    return state


def _start(hessian: Tensor, linear: Tensor) -> _Iterate:
    """Uniform probabilities, and multipliers that satisfy the stationarity condition."""
    probs = torch.full_like(linear, 1 / linear.shape[2])
    gradient = torch.bmm(hessian, probs) + linear
    # Each slack is at least the spread of its row, hence positive and of the gradient's scale.
    smallest = gradient.amin(2, keepdim=True)
    spread = (gradient.amax(2, keepdim=True) - smallest).amax(1, keepdim=True)
    offset = smallest - spread - torch.finfo(linear.dtype).eps
    return _Iterate(probs, gradient - offset, offset[:, :, 0])


def _residual(state: _Iterate, hessian: Tensor, linear: Tensor) -> Tensor:
    gradient = torch.bmm(hessian, state.probs) + linear
    return gradient - state.slack - state.offset[:, :, None]


def _is_converged(state: _Iterate, hessian: Tensor, linear: Tensor) -> Bool[Tensor, " G"]:
    scale = 1 + linear.abs().amax((1, 2)) + hessian.abs().amax((1, 2))
    gap = (state.probs * state.slack).amax((1, 2))
    residual = _residual(state, hessian, linear).abs().amax((1, 2))
    return torch.maximum(gap, residual) <= TOLERANCE * scale


def _predictor_corrector(state: _Iterate, hessian: Tensor, linear: Tensor) -> _Iterate:
    """Return Mehrotra's step: two solves with one factorization."""
    system = _KktSystem(hessian, state.slack / state.probs)
    residual = _residual(state, hessian, linear)
    product = state.probs * state.slack
    affine = _newton_step(system, state, residual, product)
    length = torch.minimum(
        _step_length(state.probs, affine.probs), _step_length(state.slack, affine.slack)
    )
    moved = state.move(affine, length)
    mean = product.mean((1, 2), keepdim=True)
    # The better the affine step, the less centering.
    ratio = (moved.probs * moved.slack).mean((1, 2), keepdim=True) / mean
    corrected = product + affine.probs * affine.slack - ratio**3 * mean
    return _newton_step(system, state, residual, corrected)


def _newton_step(
    system: _KktSystem, state: _Iterate, residual: Tensor, product: Tensor
) -> _Iterate:
    """Solve the linearized conditions `residual = 0` and `product = 0`."""
    probs, offset = system.solve(-residual - product / state.probs)
    slack = -(product + state.slack * probs) / state.probs
    return _Iterate(probs, slack, offset)


def _step_length(value: Tensor, step: Tensor) -> Float[Tensor, " G"]:
    """Return the longest step of each task, at most 1, that keeps positive values positive."""
    ratio = torch.where(step < 0, -value / step, torch.inf)
    return (STEP_FRACTION * ratio.amin((1, 2))).clamp_max(1)
