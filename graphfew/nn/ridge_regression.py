"""Ridge regression on the supports of batches of tasks, differentiable."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.core.supports import Supports

# The smallest penalty relative to the largest squared length: float32 features that should be equal
# differ by about 1e-7 of their length.
SMALLEST_PENALTY = 1e-8
# Weights grow as 1 / length, and must be finite in float32.
SMALLEST_SQUARED_LENGTH = 1e-40


def append_ones(supports: Supports) -> Float[Tensor, "G S F1"]:
    """Return the features with a column of ones for the bias, `[G, S, F + 1]`."""
    ones = supports.mask.to(supports.x.dtype)[:, :, None]
    return torch.cat([supports.x, ones], dim=2)


def mean_squared_length(supports: Supports) -> Float[Tensor, " G"]:
    """Return the mean of `‖x_i‖²` over the supports of each task."""
    return supports.x.square().sum((1, 2)) / supports.counts


def mean_squared_deviation(supports: Supports) -> Float[Tensor, " G"]:
    """Return the mean of `‖x_i - x̄‖²` over the supports of each task, x̄ their mean."""
    count = supports.counts
    mean = supports.x.sum(1, keepdim=True) / count[:, None, None]
    deviation = (supports.x - mean) * supports.mask[:, :, None]
    return deviation.square().sum((1, 2)) / count


def absolute_penalty(
    relative: Float[Tensor, ""] | float, supports: Supports, columns: Float[Tensor, "G S F1"]
) -> Float[Tensor, " G"]:
    """Scale a penalty by the spread of the features, so that any scale of them will do.

    The length of features is not such a scale: after a ReLU, most of it is common to all items.

    Args:
        relative: penalty relative to the mean squared deviation of the supports, which is the mean
            diagonal of the kernel of centered features.
        supports: the supports, features X.
        columns: the features that the regression uses, `[G, S, F1]`: X, and possibly ones.

    Returns:
        The penalty of each task; it is positive even if all features are equal.
    """
    largest = columns.detach().square().sum(2).amax(1)
    floor = (SMALLEST_PENALTY * largest).clamp_min(SMALLEST_SQUARED_LENGTH)
    return torch.maximum(relative * mean_squared_deviation(supports), floor)


def ridge_weights(
    x: Float[Tensor, "G S F"], target: Float[Tensor, "G S C"], penalty: Float[Tensor, " G"]
) -> Float[Tensor, "G C F"]:
    """Minimize `‖X Wᵀ - Y‖² + penalty · ‖W‖²` for each task.

    The smaller of two systems is solved by Cholesky factorization: `S` equations for the
    coefficients of the supports, or `F` for the weights.

    Args:
        x: X, `[G, S, F]`; zero rows do not change the result.
        target: Y, `[G, S, C]`.
        penalty: `[G]`, positive.

    Returns:
        W, `[G, C, F]`.

    Example:
        >>> import torch
        >>> from graphfew.nn.ridge_regression import ridge_weights
        >>> x, y = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[4.0]]])
        >>> ridge_weights(x, y, penalty=torch.ones(1))
        tensor([[[2., 0.]]])
    """
    if x.shape[1] <= x.shape[2]:
        coefficients = ridge_coefficients(torch.bmm(x, x.mT), target, penalty)
        return torch.bmm(coefficients.mT, x)
    weights = ridge_coefficients(torch.bmm(x.mT, x), torch.bmm(x.mT, target), penalty)
    return weights.mT


def ridge_coefficients(
    gram: Float[Tensor, "G S S"], target: Float[Tensor, "G S C"], penalty: Float[Tensor, " G"]
) -> Float[Tensor, "G S C"]:
    """Solve `(K + penalty · I) A = Y` for each task, K positive semidefinite."""
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    # `cholesky_ex` does not raise: features that are not finite give logits that are not finite.
    factor, _ = torch.linalg.cholesky_ex(gram + penalty[:, None, None] * eye)
    return torch.cholesky_solve(target, factor)
