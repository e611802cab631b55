"""How many of a task's queries belong to each class: assumed, or estimated from the task itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.dense_batch import DenseBatch, class_softmax

ROUNDS = 20
TINY = 1e-12


def check_prior(prior: Sequence[float] | None, strength: float = 0.0) -> None:
    """Raises ValueError for proportions that are not positive and finite, or a negative strength."""
    if prior is not None and not (
        len(prior) >= 2 and all(math.isfinite(p) and p > 0 for p in prior)
    ):
        raise ValueError(
            f"the prior is {list(prior)}; give a positive number for each class, or leave it out"
        )
    if not strength >= 0:
        raise ValueError(f"strength is {strength}; it must be at least 0")


def class_prior(
    prior: Sequence[float] | None, like: Float[Tensor, "G n way"]
) -> Float[Tensor, " way"]:
    """The prior as proportions `[way]`, even ones where it is None.

    Raises:
        ValueError: a prior of another way than the task.
    """
    way = like.shape[2]
    if prior is None:
        return like.new_full((way,), 1 / way)
    if len(prior) != way:
        raise ValueError(
            f"the prior has {len(prior)} classes and the task {way}; give one number per class"
        )
    given = like.new_tensor(list(prior))
    return given / given.sum()


def unknown_mask(tasks: DenseBatch) -> Float[Tensor, "G n 1"]:
    """1 for queries and unlabeled nodes, 0 for supports."""
    return 1 - tasks.one_hot.sum(2, keepdim=True)


def estimate_proportions(
    shares: Float[Tensor, "G n way"], prior: Float[Tensor, " way"], strength: float
) -> Float[Tensor, "G way"]:
    """Proportions of the classes among nodes with these shares, and `strength` more for each class, divided as the
    prior says. Shares of nodes that do not count are 0.
    """
    if math.isinf(strength):
        return prior.expand(len(shares), -1)
    seen, more = shares.sum(1), strength * len(prior) + TINY
    return (seen + more * prior) / (seen.sum(1, keepdim=True) + more)


def sinkhorn(
    scores: Float[Tensor, "G n way"], counted: Float[Tensor, "G n 1"], prior: Float[Tensor, " way"]
) -> Float[Tensor, "G n way"]:
    """Shares `∝ exp(scores)` of the counted nodes whose rows sum to 1 and whose columns sum to what the prior says.

    Each round is one of Sinkhorn's and then one of Newton's on the same equations, kept where it is nearer. A task
    stops by itself once its columns are right as far as its precision goes, whatever else is in the batch. Rows of
    other nodes are 0.

    Source: Cuturi, 2013, Sinkhorn Distances: Lightspeed Computation of Optimal Transport.

    Deviations: Newton's steps, since Sinkhorn's alone take hundreds of rounds where scores are sharp.
    """
    target = counted.sum(1) * prior
    near = 1e-5 if scores.dtype == torch.float32 else 1e-10
    columns = _Columns(scores, counted, target)
    shift = torch.zeros_like(target)
    shares, miss = columns(shift)
    for _ in range(ROUNDS):
        moving = miss > near
        if not bool(moving.any()):
            break
        scaled = shift + (target.clamp_min(TINY) / shares.sum(1).clamp_min(TINY)).log()
        by_newton = scaled + columns.newton(columns(scaled)[0])
        better = columns(by_newton)[1] < columns(scaled)[1]
        shift = torch.where(moving, torch.where(better, by_newton, scaled), shift)
        shares, miss = columns(shift)
    return shares


class _Columns:
    """Shares for a shift per class, how far their columns are off, and the shift that would mend it to first order."""

    def __init__(self, scores: Tensor, counted: Tensor, target: Tensor) -> None:
        self.scores, self.counted, self.target = scores, counted, target

    def __call__(self, shift: Tensor) -> tuple[Tensor, Tensor]:
        shares = class_softmax(self.scores + shift[:, None]) * self.counted
        miss = (shares.sum(1) - self.target).abs().amax(1, keepdim=True)
        return shares, miss / self.target.amax(1, keepdim=True)

    def newton(self, shares: Tensor) -> Tensor:
        columns = shares.sum(1)
        # A shift of all classes alike changes nothing; the last term takes that freedom away.
        slope = torch.diag_embed(columns + 1e-9 * self.target) - torch.bmm(shares.mT, shares)
        step, _ = torch.linalg.solve_ex(
            slope + self.target.mean(1)[:, None, None] / shares.shape[2],
            (self.target - columns)[..., None],
        )
        out: Tensor = step[..., 0].nan_to_num(0.0, 0.0, 0.0)
        return out
