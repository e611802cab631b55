"""Accuracy of the predictions, estimated from items that were drawn at random."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch

from graphfew.labeling.annotation.label_graph import GraphScores, normalize_scores

MIN_CHECKS = 5
NORMAL_QUANTILE = 1.959964
POWERS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
MIN_CALIBRATION_ITEMS = 10


@dataclasses.dataclass(frozen=True)
class AccuracyEstimate:
    """A proportion with its 95 % interval.

    Attributes:
        mean: the estimate, in `[0, 1]`.
        low: lower end of the interval.
        high: upper end of the interval.
        n_checks: number of items.
    """

    mean: float
    low: float
    high: float
    n_checks: int


def wilson_interval(n_correct: int, n: int) -> tuple[float, float]:
    """Compute the 95 % interval of a proportion.

    Args:
        n_correct: number of successes.
        n: number of trials, at least 1.

    Returns:
        Lower and upper end, in `[0, 1]`.

    Example:
        >>> low, high = wilson_interval(9, 10)
        >>> round(low, 3), round(high, 3)
        (0.596, 0.982)

    Source:
        Wilson, 1927, Probable Inference, the Law of Succession, and Statistical Inference.

    Deviations:
        None.
    """
    z2 = NORMAL_QUANTILE**2
    mean = n_correct / n
    center = (mean + z2 / (2 * n)) / (1 + z2 / n)
    variance = mean * (1 - mean) / n + z2 / (4 * n * n)
    half_width = NORMAL_QUANTILE * variance**0.5 / (1 + z2 / n)
    return max(0.0, center - half_width), min(1.0, center + half_width)


def estimate_accuracy(
    scores: GraphScores, checked: Iterable[int], n_rejected: int = 0
) -> AccuracyEstimate | None:
    """Estimate the accuracy from labeled items that were drawn at random.

    Each is predicted by the graph without its own label.

    Args:
        scores: the scores of all labels.
        checked: indices of the drawn items with a class.
        n_rejected: number of drawn items that belong to no class; every prediction is wrong.

    Returns:
        The estimate; None with fewer than `MIN_CHECKS` items.
    """
    items = [item for item in checked if item in scores.influences]
    n_checks = len(items) + n_rejected
    if n_checks < MIN_CHECKS:
        return None
    n_correct = 0
    if items:
        predicted = scores.held_out_scores(items).argmax(1)
        n_correct = int((predicted == scores.columns(items)).sum())
    low, high = wilson_interval(n_correct, n_checks)
    return AccuracyEstimate(n_correct / n_checks, low, high, n_checks)


def choose_power(scores: GraphScores) -> float:
    """Choose the exponent of `GraphScores.probs` that fits the labels best.

    Args:
        scores: the scores of all labels.

    Returns:
        The exponent with the largest likelihood of the labels, each predicted without itself; 2
        with few labels.
    """
    items = list(scores.influences)[-200:]
    if len(items) < MIN_CALIBRATION_ITEMS or len(scores.class_ids) < 2:
        return 2.0
    held_out = scores.held_out_scores(items)
    truth = scores.columns(items)
    # An item whose class has no other label would make every exponent equally bad.
    is_possible = held_out[torch.arange(len(items)), truth] > 0
    if not bool(is_possible.any()):
        return 2.0
    likelihoods = []
    for power in POWERS:
        probs = normalize_scores(held_out, power)
        own = probs[torch.arange(len(items)), truth][is_possible]
        likelihoods.append(float(own.clamp_min(1e-6).log().mean()))
    return POWERS[likelihoods.index(max(likelihoods))]
