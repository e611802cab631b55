"""Samples of Gaussians with reparameterized noise, and their gradients."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

MIN_DEVIATION = 1e-10
# Deviations of up to e¹⁰, so that exp() of a code that diverges in training stays finite.
MAX_EXPONENT = 10.0


@dataclasses.dataclass(frozen=True)
class GaussianSampler:
    """Samples of Gaussians whose statistics are `[mean ; s]`.

    The gradient of a sample is written out, so that loops over samples need no autograd.

    Formula:
        sample = mean + σ(s) · noise,  σ(s) = max(exp(s) - (1 - offset), 10⁻¹⁰)

    Attributes:
        offset: the deviation at `s = 0`.

    Example:
        >>> import torch
        >>> from graphfew.nn.gaussian_sampler import GaussianSampler
        >>> statistics = torch.tensor([[3.0, 0.0]])
        >>> GaussianSampler(offset=0.5).sample(statistics, noise=torch.ones(1, 1))
        tensor([[3.5000]])

    Source:
        Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero, Hadsell, 2019, Meta-Learning with Latent
        Embedding Optimization; its published code.

    Deviations:
        `s` is at most 10, so that the exponential of a diverging code stays finite.
    """

    offset: float = 0.0

    def sample(self, statistics: Tensor, noise: Tensor | None) -> Tensor:
        """Return `mean + deviation · noise`, or the mean without noise; `[..., 2C] -> [..., C]`."""
        mean, _ = statistics.chunk(2, dim=-1)
        if noise is None:
            return mean
        return mean + self.deviation(statistics) * noise

    def deviation(self, statistics: Tensor) -> Tensor:
        """Return the standard deviation, `[..., 2C] -> [..., C]`."""
        return self._shifted_exponential(statistics).clamp_min(MIN_DEVIATION)

    def statistics_gradient(self, statistics: Tensor, noise: Tensor | None, grad: Tensor) -> Tensor:
        """Return the gradient with respect to the statistics, given that of the sample."""
        if noise is None:
            return torch.cat([grad, torch.zeros_like(grad)], dim=-1)
        _, s = statistics.chunk(2, dim=-1)
        is_inside = (self._shifted_exponential(statistics) >= MIN_DEVIATION) & (s <= MAX_EXPONENT)
        slope = s.clamp_max(MAX_EXPONENT).exp() * is_inside
        return torch.cat([grad, grad * noise * slope], dim=-1)

    def divergence(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return `log q(z) - log N(z; 0, 1)` of each number of the sample z, `[..., C]`."""
        z = self.sample(statistics, noise)
        # In terms of the noise, since (z - mean) / deviation cancels for small deviations.
        log_density = -self.deviation(statistics).log() - noise.square() / 2
        return log_density + z.square() / 2

    def _shifted_exponential(self, statistics: Tensor) -> Tensor:
        _, s = statistics.chunk(2, dim=-1)
        return s.clamp_max(MAX_EXPONENT).exp() - (1 - self.offset)
