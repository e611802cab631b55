"""TODO module docstring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor


def calibration_error(
    confidence: Float[Tensor, " Q"], right: Bool[Tensor, " Q"], bins: int = 15
) -> float:
    """How far confidence is from accuracy: `Σ_b |B_b|/Q · |accuracy(B_b) - mean confidence(B_b)|` over bins of equal
    width.

    Args:
        confidence: `[Q]` the probability given to each answer, in `[0, 1]`.
        right: `[Q]` whether it was right.
        bins: their number.

    Source: Guo, Pleiss, Sun, Weinberger, 2017, On Calibration of Modern Neural Networks.

    Deviations: none.
    """
    place = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1
    off = right.double() - confidence.double()
    gap = off.new_zeros(bins).index_add(0, place, off)
    return float(gap.abs().sum()) / len(confidence)


def t_interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Mean and half the 95 % t-interval of at least two values."""
    from scipy import stats

    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * spread
