"""Confidence intervals and calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor


def calibration_error(
    confidence: Float[Tensor, " Q"], correct: Bool[Tensor, " Q"], n_bins: int = 15
) -> float:
    """Compute the expected calibration error over bins of equal width.

    Formula:
        `Σ_b |B_b|/Q · |accuracy(B_b) - mean confidence(B_b)|`

    Args:
        confidence: `[Q]` the probability of each predicted class, in `[0, 1]`.
        correct: `[Q]` whether the prediction is correct.
        n_bins: number of bins; a bin includes its upper edge.

    Returns:
        The error, in `[0, 1]`; 0 if accuracy equals confidence in every bin.

    Example:
        >>> import torch
        >>> calibration_error(torch.tensor([1.0, 1.0]), torch.tensor([True, False]))
        0.5

    Source:
        Guo, Pleiss, Sun, Weinberger, 2017, "On calibration of modern neural networks".

    Deviations:
        None.
    """
    # Bins are open on the left, (0, 1/n], so that confidence 1 is in the last one.
    bin_index = (confidence.double() * n_bins).ceil().long().clamp(1, n_bins) - 1
    # |B_b| cancels: the sum over a bin of (correct - confidence) is |B_b| times its gap.
    gap = correct.double() - confidence.double()
    gap_per_bin = gap.new_zeros(n_bins).index_add(0, bin_index, gap)
    return float(gap_per_bin.abs().sum()) / len(confidence)


def t_interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Compute a mean and half the width of its 95 % t-interval.

    Args:
        values: at least two numbers.

    Returns:
        Mean and half width.

    Example:
        >>> mean, half_width = t_interval([0.5, 1.0, 0.75])
        >>> mean, round(half_width, 3)
        (0.75, 0.621)
    """
    from scipy import stats  # imported here because it takes most of a second

    standard_error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    return float(np.mean(values)), quantile * standard_error
