"""Feature transforms with the statistics of one context, as records that apply to new items."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.propagation.feature_transforms import power_unit, principal_axes, unit_rows


@dataclasses.dataclass(frozen=True, eq=False)
class CenteredUnit:
    """Subtract a center and scale to length 1.

    Attributes:
        center: `[F]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation.fitted_transforms import CenteredUnit
        >>> CenteredUnit(torch.tensor([1.0, 1.0]))(torch.tensor([[3.0, 1.0]]))
        tensor([[1., 0.]])
    """

    center: Float[Tensor, " F"]

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q F"]:
        """Return the features with length 1."""
        return F.normalize(x - self.center, dim=1)


@dataclasses.dataclass(frozen=True, eq=False)
class PowerNormalizer:
    """`power_normalize` with a given center.

    Attributes:
        power: exponent of the features.
        center: `[F]`.

    Example:
        >>> import torch
        >>> from graphfew.propagation.fitted_transforms import PowerNormalizer
        >>> PowerNormalizer(0.5, torch.zeros(2))(torch.tensor([[9.0, 16.0]]))
        tensor([[0.6000, 0.8000]])
    """

    power: float
    center: Float[Tensor, " F"]

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q F"]:
        """Return the features with length 1."""
        return unit_rows(power_unit(x, self.power) - self.center)


@dataclasses.dataclass(frozen=True, eq=False)
class PrincipalProjection:
    """A transform, then the projection to given axes, scaled to length 1.

    Attributes:
        transform: from features `[Q, F]` to features of the same width.
        axes: `[F, components]`.
    """

    transform: Callable[[Tensor], Tensor]
    axes: Float[Tensor, "F components"]

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q components"]:
        """Return the projected features with length 1."""
        return F.normalize(self.transform(x) @ self.axes, dim=1)


def fit_power_normalizer(
    x: Float[Tensor, "N F"], power: float, center: Sequence[float] | None
) -> PowerNormalizer:
    """Compute the center that `power_normalize` subtracts in a context of one task.

    Args:
        x: features of all nodes of the context, `[N, F]`.
        power: exponent of the features.
        center: a given center; None for the mean of the context.

    Returns:
        The normalizer for these and other items.
    """
    if center is not None:
        return PowerNormalizer(power, x.new_tensor(center))
    return PowerNormalizer(power, power_unit(x, power).mean(0))


def fit_principal_projection(
    transform: Callable[[Tensor], Tensor], x: Float[Tensor, "N F"], components: int
) -> PrincipalProjection:
    """Compute the axes of `project_to_principal_axes` in a context of one task.

    Args:
        transform: what to apply to the features first.
        x: features of all nodes of the context, `[N, F]`.
        components: number of axes.

    Returns:
        The projection of these and other items.
    """
    return PrincipalProjection(transform, principal_axes(transform(x), components))
