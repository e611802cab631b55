"""Class weights for which the predicted class proportions equal a prior (volume constraint)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FIRST_STEP = 0.1
LAST_STEP = 1e-4
# Steps without a smaller gap before the step size is halved.
PATIENCE = 30
MAX_STEPS = 10_000


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

    Every task stops separately: when the largest difference to the prior is at most the tolerance
    or less than one node, or when smaller steps no longer reduce it. It can stay larger, such as
    for tied scores.

    Formula:
        w_k ← w_k - step · (predicted fraction of class k - prior_k),  w ← w / mean(w)

    Args:
        scores: class scores, at least 0 and of magnitude 1, `[G, n, C]`. A class with `-inf` is
            never predicted.
        prior: class proportions `[C]`, with sum 1.
        is_counted: the nodes whose predictions count, `[G, n]`; None for all.
        start: weights to start from; None for 1.
        tolerance: the largest difference of a class to its prior.

    Returns:
        The weights with the smallest difference, at least 0, `[G, 1, C]`.

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
        The weights have mean 1 (the weight of the first class is 1 in the paper's code), so that
        the order of the classes has no influence. The step is halved when the difference stops
        decreasing, and the best weights are returned instead of the last.
    """
    counted = torch.ones_like(scores[..., 0]) if is_counted is None else is_counted.to(scores.dtype)
    n_counted = counted.sum(1)[:, None, None].clamp_min(1)
    weights = scores.new_ones(len(scores), 1, len(prior)) if start is None else start
    # Proportions of n nodes are multiples of 1 / n, so any prior can be met within 1 / n.
    target = (0.999 / n_counted).clamp_min(tolerance)
    best, best_gap = weights, torch.full_like(target, torch.inf)
    step, n_stalled = torch.full_like(target, FIRST_STEP), torch.zeros_like(target)
    is_done = torch.zeros_like(target, dtype=torch.bool)
    for _ in range(MAX_STEPS):
        fraction = _class_counts(weights * scores, counted) / n_counted
        gap = (fraction - prior).abs().amax(2, keepdim=True)
        # The result of a task must not depend on the steps that other tasks still need.
        is_better = (gap < best_gap) & ~is_done
        best = torch.where(is_better, weights, best)
        best_gap = torch.where(is_better, gap, best_gap)
        is_done = is_done | (best_gap <= target) | (step < LAST_STEP)
        if bool(is_done.all()):
            break
        n_stalled = torch.where(is_better, 0, n_stalled + 1)
        is_stalled = n_stalled >= PATIENCE
        step = torch.where(is_stalled, step / 2, step)
        n_stalled = n_stalled.masked_fill(is_stalled, 0)
        moved = (weights - step * (fraction - prior)).clamp_min(0)
        weights = torch.where(is_stalled, best, moved / moved.mean(2, keepdim=True))
    return best


def _class_counts(scores: Tensor, counted: Tensor) -> Tensor:
    """The number of counted nodes with each class as prediction, `[G, 1, C]`."""
    counts = torch.zeros_like(scores[:, 0]).scatter_add(1, scores.argmax(2), counted)
    return counts[:, None]
