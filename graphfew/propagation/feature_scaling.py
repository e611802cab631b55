"""Feature scaling that suits embeddings, pixels and tables of measurements, decided from the data."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.propagation.feature_blocks import feature_block, is_narrow

# With at most this many columns, length 1 would remove much of what they hold.
FEW_COLUMNS = 32
# A largest spread of more than this many medians means columns of different units.
UNIT_RATIO = 5.0
# Where most values are zero (counts, pixels), the spread of a column says how often it is used.
SPARSE_FRACTION = 0.5
# Above this fraction of the mean squared length, the mean dominates, and rows of length 1 would lie
# in one small region, closer to each other than the rounding of their products.
OFFSET_FRACTION = 0.98
# Relative to the largest spread, or to the values of the column; below it a column is constant.
CONSTANT_SPREAD = 1e-9
CONSTANT_ROUNDINGS = 16
# Values of a sample of rows that the scaling is chosen from, and values that are scaled at a time.
MAX_FITTED = 2**26
VALUES_PER_BLOCK = 2**24


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureScaling:
    """A linear scaling of features, and optionally of rows to length 1.

    Attributes:
        center: `[F]`, subtracted.
        scale: `[F]` factor of each column; 0 for constant columns.
        unit_length: whether rows are then scaled to length 1.

    Example:
        >>> import torch
        >>> from graphfew.propagation.feature_scaling import fit_scaling
        >>> measurements = torch.tensor([[1.0, 5000.0, 3.0], [2.0, 9000.0, 2.0], [3.0, 7000.0, 1.0]])
        >>> fit_scaling(measurements)(measurements).round(decimals=2) + 0
        tensor([[-0.7100, -0.7100,  0.7100],
                [ 0.0000,  0.7100,  0.0000],
                [ 0.7100,  0.0000, -0.7100]])
    """

    center: Float[Tensor, " F"]
    scale: Float[Tensor, " F"]
    unit_length: bool

    def __call__(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
        """Scale features.

        Args:
            x: `[N, F]`.

        Returns:
            `[N, F]`.
        """
        if x.numel() <= VALUES_PER_BLOCK and not is_narrow(x):
            return self._scale(x)
        # Large features are scaled block by block, and keep their 16 bits.
        scaled = torch.empty_like(x)
        step = max(1, VALUES_PER_BLOCK // x.shape[1])
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            scaled[rows] = self._scale(feature_block(x, rows))
        return scaled

    def _scale(self, x: Tensor) -> Tensor:
        return self.normalize((x - self.center) * self.scale)

    def normalize(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
        """Scale rows to length 1 if this scaling does, for means of scaled features.

        Args:
            x: `[N, F]`.

        Returns:
            `[N, F]`.
        """
        return F.normalize(x, dim=1) if self.unit_length else x


def fit_scaling(x: Float[Tensor, "N F"]) -> FeatureScaling:
    """Choose a scaling for features of unknown kind.

    Columns of different units, as in tables of measurements, are standardized. Few columns of the
    same unit are centered. Other features, such as embeddings, are scaled to length 1. They are not
    centered: the mean of an imbalanced set is close to its largest class, which would lose its
    direction. If a common offset dominates, they are centered and keep their length. The result
    does not depend on the unit of the features. Of very many rows, an even sample is used.

    Args:
        x: `[N, F]` features.

    Returns:
        The scaling. Scaled rows have a mean squared length of 1.

    Example:
        >>> import torch
        >>> from graphfew.propagation.feature_scaling import fit_scaling
        >>> fit_scaling(torch.randn(100, 4)).unit_length, fit_scaling(torch.randn(100, 64)).unit_length
        (False, True)
    """
    # The statistics of very many rows are those of a sample.
    stride = max(1, x.numel() // MAX_FITTED)
    x = feature_block(x, slice(None, None, stride))
    largest = x.abs().amax().clamp_min(torch.finfo(x.dtype).tiny)
    # Squares of large values would overflow.
    x = x / largest
    mean = x.mean(0)
    spread = (x - mean).square().mean(0).sqrt()
    rounding = CONSTANT_ROUNDINGS * torch.finfo(x.dtype).eps * mean.abs()
    is_constant = spread <= torch.maximum(CONSTANT_SPREAD * spread.amax(), rounding)
    if bool(is_constant.all()):
        return FeatureScaling(mean * largest, torch.zeros_like(mean), unit_length=False)
    varying = x[:, ~is_constant]
    center, unit_length = mean, False
    factor = torch.ones_like(spread)
    if _has_different_units(varying, spread[~is_constant]):
        factor = spread.masked_fill(is_constant, 1).reciprocal()
    elif varying.shape[1] > FEW_COLUMNS and _offset_fraction(varying) < OFFSET_FRACTION:
        center, unit_length = torch.zeros_like(mean), True
    factor = factor.masked_fill(is_constant, 0)
    squared_length = ((x - center) * factor).square().sum(1).mean()
    return FeatureScaling(center * largest, factor / squared_length.sqrt() / largest, unit_length)


def _has_different_units(x: Tensor, spread: Tensor) -> bool:
    """Whether the columns, none of them constant, are measurements in different units."""
    is_sparse = bool((x == 0).double().mean() > SPARSE_FRACTION)
    return not is_sparse and bool(spread.amax() > UNIT_RATIO * spread.median())


def _offset_fraction(x: Tensor) -> float:
    return float(x.mean(0).square().sum() / x.square().sum(1).mean())
