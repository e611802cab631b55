"""Calibration without held-out labels, from the agreement of the members of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.propagation.prior_estimation import bounded_log_shots

# With fewer items, an agreement rate says little, and logits are used as they are.
MIN_ITEMS = 20
BISECTIONS = 30
# Logits that the factor is found from at most (items times classes).
MAX_CALIBRATED = 2**23
TEMPERATURES = (0.05, 20.0)
MAX_ACCURACY = 0.99


def agreement_features(
    predictions: Int[Tensor, "M U"],
    log_probs: Float[Tensor, "U C"],
    candidate_agreement: float,
    shots: float,
) -> Float[Tensor, " D"]:
    """Compute what the accuracy of an ensemble is predicted from.

    Args:
        predictions: class indices of U unlabeled items by M members.
        log_probs: by the ensemble.
        candidate_agreement: mean rate at which a candidate of its mixture agrees with it.
        shots: mean number of labels per class.

    Returns:
        `[D]`, with D = 4 M + 6: the rate at which each member agrees with the ensemble, and with the
        next member; these rates times the logarithm of shots; the mean logarithm of the confidence;
        the agreement of the candidates; the logarithms of shots and C; the entropy of the predicted
        proportions; 1.

    Example:
        >>> import torch
        >>> from graphfew.estimators import agreement_features
        >>> predictions = torch.tensor([[0, 1], [0, 1], [0, 0]])
        >>> log_probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
        >>> agreement_features(predictions, log_probs, 0.9, shots=1.0)[:3]
        tensor([1.0000, 1.0000, 0.5000], dtype=torch.float64)
    """
    final = log_probs.argmax(1)
    n_classes = log_probs.shape[1]
    with_final = (predictions == final).double().mean(1)
    with_next = (predictions == predictions.roll(-1, 0)).double().mean(1)
    rates = torch.cat([with_final, with_next])
    log_shots = bounded_log_shots(shots)
    log_confidence = float(log_probs.amax(1).mean())
    proportions = torch.bincount(final, minlength=n_classes).double() / len(final)
    entropy = float(torch.special.entr(proportions).sum())
    facts = [log_confidence, candidate_agreement, log_shots, math.log(n_classes), entropy, 1.0]
    return torch.cat([rates, rates * log_shots, torch.tensor(facts, dtype=rates.dtype)])


def predict_accuracy(
    features: Float[Tensor, " D"], weights: Sequence[float], n_classes: int
) -> float:
    """Predict the accuracy of an ensemble from `agreement_features`.

    Args:
        features: of the ensemble.
        weights: `[D]`, fitted on other data sets.
        n_classes: number of classes; the accuracy is above chance.

    Returns:
        The accuracy, between chance and 0.99.
    """
    logit = features @ torch.tensor(weights, dtype=features.dtype)
    chance = 1 / n_classes
    return min(max(float(logit.sigmoid()), chance + 0.01), MAX_ACCURACY)


def fit_inv_temperature(logits: Float[Tensor, "U C"], accuracy: float) -> float:
    """Find the factor on logits with which the mean confidence equals the accuracy.

    Args:
        logits: of the items.
        accuracy: the mean of the largest probability of each item.

    Returns:
        The factor, between 0.05 and 20.
    """
    logits = logits[:: max(1, logits.numel() // MAX_CALIBRATED)]
    low, high = (math.log(limit) for limit in TEMPERATURES)
    # The mean confidence grows with the factor.
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        confidence = float((math.exp(middle) * logits).softmax(1).amax(1).mean())
        if confidence < accuracy:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)
