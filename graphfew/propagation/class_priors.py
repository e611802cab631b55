"""Class proportions among a task's queries: given as a prior, or estimated from the task."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.dense_batch import DenseBatch, class_softmax
from graphfew.errors import InvalidInputError

MAX_ITERATIONS = 20
TINY = 1e-12


def check_prior(prior: Sequence[float] | None, strength: float = 0.0) -> None:
    """Check a class prior and its strength.

    Args:
        prior: one proportion per class, or None.
        strength: pseudo-count per class.

    Raises:
        InvalidInputError: a proportion that is not positive and finite, fewer than two of them,
            or a negative strength.
    """
    if prior is not None:
        is_valid = len(prior) >= 2 and all(math.isfinite(p) and p > 0 for p in prior)
        if not is_valid:
            raise InvalidInputError(
                f"the prior is {list(prior)}; give a positive number for each class, or omit it"
            )
    if not strength >= 0:
        raise InvalidInputError(f"strength is {strength}; it must be at least 0")


def class_prior(
    prior: Sequence[float] | None, like: Float[Tensor, "G n way"]
) -> Float[Tensor, " way"]:
    """Normalize a class prior.

    Args:
        prior: one positive number per class; None for a uniform prior.
        like: a tensor with the task's classes in its last dimension, and the result's dtype.

    Returns:
        `[way]`, with sum 1.

    Raises:
        InvalidInputError: the prior has another number of classes than the task.

    Example:
        >>> import torch
        >>> from graphfew.propagation import class_prior
        >>> class_prior([3.0, 1.0], torch.zeros(1, 5, 2)).tolist()
        [0.75, 0.25]
    """
    way = like.shape[2]
    if prior is None:
        return like.new_full((way,), 1 / way)
    if len(prior) != way:
        raise InvalidInputError(
            f"the prior has {len(prior)} classes and the task {way}; give one number per class"
        )
    numbers = like.new_tensor(list(prior))
    return numbers / numbers.sum()


def unknown_mask(tasks: DenseBatch) -> Float[Tensor, "G n 1"]:
    """Mark queries and unlabeled nodes.

    Args:
        tasks: tasks with labels `[G, n, way]`.

    Returns:
        `[G, n, 1]`; 1 for queries and unlabeled nodes, 0 for supports.
    """
    return 1 - tasks.one_hot.sum(2, keepdim=True)


def estimate_proportions(
    probs: Float[Tensor, "G n way"], prior: Float[Tensor, " way"], strength: float
) -> Float[Tensor, "G way"]:
    """Estimate class proportions from class probabilities, regularized toward a prior.

    Formula:
        π_k ∝ Σ_i p_ik + strength · way · prior_k

    Args:
        probs: class probabilities; the rows of nodes that do not count are 0.
        prior: `[way]`, with sum 1.
        strength: pseudo-count per class; infinity returns the prior.

    Returns:
        `[G, way]`, with rows of sum 1.

    Example:
        >>> import torch
        >>> from graphfew.propagation import estimate_proportions
        >>> probs, prior = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([0.5, 0.5])
        >>> estimate_proportions(probs, prior, strength=1.0).tolist()
        [[0.75, 0.25]]
    """
    if math.isinf(strength):
        return prior.expand(len(probs), -1)
    counts = probs.sum(1)
    # TINY avoids 0 / 0 for strength 0 in a task without assigned nodes.
    pseudo_counts = strength * len(prior) + TINY
    return (counts + pseudo_counts * prior) / (counts.sum(1, keepdim=True) + pseudo_counts)


def sinkhorn(
    scores: Float[Tensor, "G n way"],
    is_counted: Float[Tensor, "G n 1"],
    prior: Float[Tensor, " way"],
) -> Float[Tensor, "G n way"]:
    """Assign nodes to classes with class proportions equal to the prior.

    Formula:
        p_ik ∝ exp(score_ik + b_k),  with b such that Σ_i p_ik = prior_k · n

    Each iteration is a Sinkhorn step followed by a Newton step on the same equations, which is
    used if it reduces the error. Every task stops separately when its column sums have converged.

    Args:
        scores: `[G, n, way]`.
        is_counted: `[G, n, 1]`; 1 for nodes to assign, 0 for others.
        prior: `[way]`, with sum 1.

    Returns:
        Class probabilities `[G, n, way]`; rows of nodes that are not counted are 0.

    Example:
        >>> import torch
        >>> from graphfew.propagation import sinkhorn
        >>> scores = torch.tensor([[[9.0, 0.0], [8.0, 0.0]]])
        >>> probs = sinkhorn(scores, torch.ones(1, 2, 1), torch.tensor([0.5, 0.5]))
        >>> probs.sum(1).round(decimals=3).tolist()
        [[1.0, 1.0]]

    Source:
        Cuturi, 2013, Sinkhorn Distances: Lightspeed Computation of Optimal Transport.

    Deviations:
        Newton steps, since Sinkhorn steps alone take hundreds of iterations for large scores.
    """
    target = is_counted.sum(1) * prior
    tolerance = 1e-5 if scores.dtype == torch.float32 else 1e-10
    problem = _ColumnSums(scores, is_counted, target)
    shift = torch.zeros_like(target)
    probs, error = problem.probs_and_error(shift)
    for _ in range(MAX_ITERATIONS):
        # Converged tasks stay fixed, so that a result does not depend on the rest of the batch.
        is_active = error > tolerance
        if not bool(is_active.any()):
            break
        ratio = target.clamp_min(TINY) / probs.sum(1).clamp_min(TINY)
        sinkhorn_shift = shift + ratio.log()
        sinkhorn_probs, sinkhorn_error = problem.probs_and_error(sinkhorn_shift)
        # Newton is fast near the solution but may overshoot far from it: take the better one.
        newton_shift = sinkhorn_shift + problem.newton_step(sinkhorn_probs)
        _, newton_error = problem.probs_and_error(newton_shift)
        better = torch.where(newton_error < sinkhorn_error, newton_shift, sinkhorn_shift)
        shift = torch.where(is_active, better, shift)
        probs, error = problem.probs_and_error(shift)
    return probs


class _ColumnSums:
    """The equations of `sinkhorn` in the class shifts b: column sums equal to their targets."""

    def __init__(self, scores: Tensor, is_counted: Tensor, target: Tensor) -> None:
        self.scores = scores
        self.is_counted = is_counted
        self.target = target

    def probs_and_error(self, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities `[G, n, way]`, and the relative error of column sums `[G, 1]`."""
        probs = class_softmax(self.scores + shift[:, None]) * self.is_counted
        error = (probs.sum(1) - self.target).abs().amax(1, keepdim=True)
        return probs, error / self.target.amax(1, keepdim=True)

    def newton_step(self, probs: Tensor) -> Tensor:
        """The change of the shifts `[G, way]` that solves the linearized equations."""
        columns = probs.sum(1)
        jacobian = torch.diag_embed(columns + 1e-9 * self.target) - torch.bmm(probs.mT, probs)
        # Adding a constant to all shifts changes nothing, so the Jacobian is singular; this
        # rank-one term removes that direction.
        regularizer = self.target.mean(1)[:, None, None] / probs.shape[2]
        step, _ = torch.linalg.solve_ex(jacobian + regularizer, (self.target - columns)[..., None])
        # `solve_ex` does not raise for a singular task; its step becomes 0 instead of NaN.
        out: Tensor = step[..., 0].nan_to_num(0.0, 0.0, 0.0)
        return out
