"""The similarity below which an item is unknown, chosen without labeled outliers."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.core.episode import UNKNOWN

# Fraction of class members that the threshold calls unknown.
FALSE_REFUSAL_RATE = 0.05
# Two groups of similarities are separate if their means differ by this many standard deviations.
# Halves of one normal distribution differ by 2.6 of theirs, those of a uniform one by 3.5.
SEPARATION = 4.0
MIN_GROUPED = 20


def likely_members(
    labels: Int[Tensor, " N"], predictions: Int[Tensor, "M U"], final: Int[Tensor, " N"]
) -> Int[Tensor, " L"]:
    """Select unlabeled items on whose class all members of an ensemble agree.

    With one label per class, labeled items lie on their class mean, so they do not show how far
    members are from it.

    Args:
        labels: class indices, -1 if unlabeled.
        predictions: class of each unlabeled item by each member.
        final: class of every item by the ensemble.

    Returns:
        Indices of items; of all items if members never agree.
    """
    unlabeled = torch.nonzero(labels == UNKNOWN).flatten()
    likely = unlabeled[(predictions == final[unlabeled]).all(0)]
    return likely if len(likely) else torch.arange(len(labels))


def refusal_threshold(
    similarity: Float[Tensor, "N C"], final: Int[Tensor, " N"], members: Int[Tensor, " L"]
) -> float:
    """Find the similarity that all but `FALSE_REFUSAL_RATE` of the class members reach.

    If the similarities of the items of a class have two well separated groups, the lower one is
    outliers.

    Args:
        similarity: of items to each class.
        final: predicted class of each item.
        members: indices of items that are likely members.

    Returns:
        The threshold.
    """
    own = similarity.gather(1, final[:, None]).flatten()
    classes = final[members]
    # By class, because classes differ in their spread.
    present = torch.bincount(classes).nonzero().flatten()
    groups = [_upper_group(own[members[classes == c]]) for c in present]
    return float(torch.cat(groups).quantile(FALSE_REFUSAL_RATE))


def _upper_group(values: Tensor) -> Tensor:
    """The upper of two well separated groups of values, or all values."""
    ordered = values.sort().values
    n = len(ordered)
    if n < MIN_GROUPED:
        return ordered
    # The split into two groups with the smallest sum of squares within them.
    lower = torch.arange(1, n, dtype=ordered.dtype)
    sums, squares = ordered.cumsum(0)[:-1], ordered.square().cumsum(0)[:-1]
    upper, upper_sums = n - lower, ordered.sum() - sums
    upper_squares = ordered.square().sum() - squares
    within_lower = (squares - sums.square() / lower).clamp_min(0)
    within_upper = (upper_squares - upper_sums.square() / upper).clamp_min(0)
    split = int((within_lower + within_upper).argmin())
    gap = upper_sums[split] / upper[split] - sums[split] / lower[split]
    variance = (within_lower[split] / lower[split] + within_upper[split] / upper[split]) / 2
    is_separated = bool(gap > SEPARATION * variance.sqrt())
    return ordered[split + 1 :] if is_separated else ordered
