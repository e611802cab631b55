"""Features of gradients for networks that learn to use them, whatever their scale."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def log_and_sign(x: Float[Tensor, "*shape"], p: float) -> Float[Tensor, "*shape 2"]:
    """Represent each number by its magnitude on a log scale and its sign.

    Formula:
        (log|x| / p, sign x)  if |x| ≥ e⁻ᵖ
        (-1, eᵖ x)            otherwise

    Args:
        x: gradients, losses, or other numbers of very different magnitude.
        p: numbers below e⁻ᵖ count as small.

    Returns:
        Two features of each number, continuous in x, along a new last axis.

    Example:
        >>> import torch
        >>> from graphfew.nn.gradient_features import log_and_sign
        >>> log_and_sign(torch.tensor([1.0, -1.0, 0.0]), p=10.0).tolist()
        [[0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]]

    Source:
        Andrychowicz, Denil, Gomez, Hoffman, Pfau, Schaul, de Freitas, 2016, Learning to learn by
        gradient descent by gradient descent.

    Deviations:
        none.
    """
    # Both cases in one: the logarithm of 0 is -inf, which the clamp turns into -1.
    magnitude = (x.abs().log() / p).clamp_min(-1)
    sign = (math.exp(p) * x).clamp(-1, 1)
    return torch.stack([magnitude, sign], dim=-1)
