"""Class priors of unlabeled items, estimated from the predictions of several classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.errors import InvalidInputError

# Beyond these, the weights were not fitted; the estimate continues as at the limit.
MAX_CLASSES = 20
MAX_SHOTS = 10.0
ITERATIONS = 25
STEP = 0.8
# The largest change of a bias after which the iterations end.
TOLERANCE = 1e-3
# Added to proportions, so that a class without items has a finite bias.
SMALLEST_PROPORTION = 1e-4


def bounded_log_shots(shots: float) -> float:
    """Return the logarithm of the labels per class, within the range that weights were fitted on."""
    return math.log(min(max(shots, 1.0), MAX_SHOTS))


def prior_features(
    predictions: Int[Tensor, "M U"], n_classes: int, shots: float
) -> Float[Tensor, "C D"]:
    """Compute what `estimate_prior` weights.

    The first columns are the centered logarithms `l_m` of how often each classifier predicts a
    class. The others are their mean `g` over classifiers times: its spread A over classes, log C,
    log shots, the disagreement v of the classifiers, and the products of A and v with the
    logarithms. With them, the estimate can depend on how far the predictions deviate from even
    proportions, and on how well the classifiers agree on it.

    Args:
        predictions: class indices of U unlabeled items by M classifiers.
        n_classes: number of classes C.
        shots: mean number of labels per class.

    Returns:
        `[C, D]` float64, with D = M + 8.

    Example:
        >>> import torch
        >>> from graphfew.propagation.prior_estimation import prior_features
        >>> prior_features(torch.zeros(3, 5, dtype=torch.long), n_classes=2, shots=1.0).shape
        torch.Size([2, 11])
    """
    counts = torch.stack([torch.bincount(row, minlength=n_classes) for row in predictions], 1)
    # One more item of every class: few items say little.
    log_counts = (counts + 1).double().log()
    log_counts = log_counts - log_counts.mean(0)
    mean = log_counts.mean(1, keepdim=True)
    spread = mean.square().mean().sqrt()
    disagreement = log_counts.std(1, correction=0).mean()
    log_classes = math.log(min(n_classes, MAX_CLASSES) / 2)
    log_shots = bounded_log_shots(shots)
    factors: list[Tensor | float] = [
        spread,
        log_classes,
        log_shots,
        disagreement,
        spread * log_classes,
        disagreement * log_classes,
        spread * log_shots,
        disagreement * log_shots,
    ]
    return torch.cat([log_counts, *(mean * factor for factor in factors)], 1)


def estimate_prior(
    predictions: Int[Tensor, "M U"], n_classes: int, shots: float, weights: Sequence[float]
) -> Float[Tensor, " C"]:
    """Estimate class proportions by weighted pooling of several classifiers' predictions.

    Formula:
        π_c ∝ exp(w · f_c),  f_c a row of `prior_features`

    Args:
        predictions: class indices of U unlabeled items by M classifiers.
        n_classes: number of classes C.
        shots: mean number of labels per class.
        weights: w, M + 8 numbers, fitted on other data sets.

    Returns:
        π, `[C]` float64 with sum 1.

    Raises:
        InvalidInputError: the number of weights does not match.

    Example:
        >>> import torch
        >>> from graphfew.propagation.prior_estimation import estimate_prior
        >>> predictions = torch.tensor([[0, 0, 0, 0, 0, 1]])
        >>> estimate_prior(predictions, 2, 1.0, [1.0] + [0.0] * 8)
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    features = prior_features(predictions, n_classes, shots)
    if len(weights) != features.shape[1]:
        raise InvalidInputError(
            f"there are {len(weights)} weights; {len(predictions)} classifiers need "
            f"{features.shape[1]}"
        )
    return (features @ torch.tensor(weights, dtype=features.dtype)).softmax(0)


def match_prior(logits: Float[Tensor, "U C"], prior: Float[Tensor, " C"]) -> Float[Tensor, " C"]:
    """Find class biases with which the mean probabilities of items equal a prior.

    Formula:
        mean_u softmax(logit_u + b) = π

    Args:
        logits: of the items.
        prior: π, `[C]` with sum 1.

    Returns:
        b, `[C]`, in the dtype of the logits.

    Example:
        >>> import torch
        >>> from graphfew.propagation.prior_estimation import match_prior
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> bias = match_prior(logits, torch.tensor([0.5, 0.5]))
        >>> (logits + bias).softmax(1).mean(0).round(decimals=3)
        tensor([0.5000, 0.5000])
    """
    bias = torch.zeros_like(logits[0])
    target = (prior.to(logits) + SMALLEST_PROPORTION).log()
    for _ in range(ITERATIONS):
        proportion = (logits + bias).softmax(1).mean(0)
        change = STEP * (target - (proportion + SMALLEST_PROPORTION).log())
        bias = bias + change
        if float(change.abs().max()) < TOLERANCE:
            break
    return bias
