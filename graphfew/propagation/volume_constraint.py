"""Class weights for which the predicted class proportions equal a prior (volume constraint)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Changes of the logarithm of a weight in one iteration: the first, the smallest and the largest.
FIRST_STEP = 0.01
SMALLEST_STEP = 1e-6
LARGEST_STEP = 0.2
# Factors of a step if the difference to the prior keeps its sign, and if it changes it.
GROWTH = 1.2
SHRINKAGE = 0.5
MAX_ITERATIONS = 300


@torch.no_grad()
def volume_weights(
    scores: Float[Tensor, "G n C"],
    prior: Float[Tensor, " C"],
    is_counted: Bool[Tensor, "G n"] | None = None,
    start: Float[Tensor, "G 1 C"] | None = None,
    *,
    tolerance: float = 1e-3,
) -> Float[Tensor, "G 1 C"]:
    """Find class weights for which `argmax_k w_k score_ik` has given class proportions.

    Each task stops separately when the largest difference to the prior is at most the tolerance,
    or less than one node. It can stay larger, such as for tied scores.

    Formula:
        log w_k ← log w_k - step_k · sign(predicted fraction of class k - prior_k)
        step_k grows by 1.2 while the sign stays the same and is halved when it changes

    Args:
        scores: class scores, at least 0, `[G, n, C]`. A class with `-inf` is never predicted.
        prior: class proportions `[C]`, with sum 1.
        is_counted: the nodes whose predictions count, `[G, n]`; None for all.
        start: positive weights to start from; None for 1.
        tolerance: the largest difference of a class to its prior.

    Returns:
        Of all weights tried, those with the smallest difference, `[G, 1, C]`, with mean 1.

    Example:
        >>> import torch
        >>> from graphfew.propagation import volume_weights
        >>> scores = torch.tensor([[[1.0, 0.2], [1.0, 0.4], [1.0, 0.8], [1.0, 0.9]]])
        >>> weights = volume_weights(scores, torch.tensor([0.5, 0.5]))
        >>> (weights * scores).argmax(2).tolist()
        [[0, 0, 1, 1]]

    Source:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson Learning: Graph Based Semi-Supervised Learning
        at Very Low Label Rates.

    Deviations:
        The weights are found by resilient propagation (Riedmiller, Braun, 1993), which needs about
        30 iterations; the paper's steps, 0.1 times the difference, need up to 2,000. They have
        mean 1 (in the paper's code the first class has weight 1), so that the order of the
        classes has no influence.
    """
    counted = torch.ones_like(scores[..., 0]) if is_counted is None else is_counted.to(scores.dtype)
    n_counted = counted.sum(1)[:, None, None].clamp_min(1)
    weights = scores.new_ones(len(scores), 1, len(prior)) if start is None else start
    # Proportions of n nodes are multiples of 1 / n, so any prior can be met within 1 / n.
    target = (0.999 / n_counted).clamp_min(tolerance)
    best, smallest_gap = weights, torch.full_like(target, torch.inf)
    step, direction = torch.full_like(weights, FIRST_STEP), torch.zeros_like(weights)
    for _ in range(MAX_ITERATIONS):
        excess = _class_counts(weights * scores, counted) / n_counted - prior
        gap = excess.abs().amax(2, keepdim=True)
        # The result of a task must not depend on the iterations that other tasks still need.
        is_better = (gap < smallest_gap) & (smallest_gap > target)
        best = torch.where(is_better, weights, best)
        smallest_gap = torch.where(is_better, gap, smallest_gap)
        if bool((smallest_gap <= target).all()):
            break
        previous = direction
        # Classes that fit stay as they are, unless others move.
        direction = excess.sign() * (excess.abs() > target / 2)
        agreement = direction * previous
        step = torch.where(agreement > 0, GROWTH * step, step)
        step = torch.where(agreement < 0, SHRINKAGE * step, step)
        step = step.clamp(SMALLEST_STEP, LARGEST_STEP)
        weights = weights * (-step * direction).exp()
        weights = weights / weights.mean(2, keepdim=True)
    return best


def _class_counts(scores: Tensor, counted: Tensor) -> Tensor:
    """The number of counted nodes with each class as prediction, `[G, 1, C]`."""
    counts = torch.zeros_like(scores[:, 0]).scatter_add(1, scores.argmax(2), counted)
    return counts[:, None]
