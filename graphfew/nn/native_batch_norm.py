"""Batch norm of the items of one task by the kernels of torch, for the rules of `batch_norm_rules`.

Moments, normalization, scale and shift take one pass each over a feature map in the general form of
a rule, and several in the backward pass. torch's kernels combine them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from graphfew.core.episode import Episode
from graphfew.nn.batch_norm_rules import (
    BatchNormRule,
    channel_moments,
    running_moments,
    running_statistics,
    support_moments,
    transductive_moments,
)

# From the batch norm, its input, the number of supports, which come first, scale and shift.
NativeRule = Callable[[nn.Module, Tensor, int, Tensor, Tensor], Tensor]


def native_batch_norm(
    rule: BatchNormRule,
    norm: nn.Module,
    x: Tensor,
    episode: Episode,
    weight: Tensor,
    bias: Tensor,
) -> Tensor | None:
    """Normalize, scale and shift the items of one task.

    Args:
        rule: moments of the batch norm.
        norm: the batch norm.
        x: its input, `[N, C, ...]`.
        episode: the task of the items.
        weight: scale, `[1, C]`.
        bias: shift, `[1, C]`.

    Returns:
        `[N, C, ...]`; None if only the general form of the rule applies: there are several tasks,
        scales per item, mixed dtypes, moments of a single value, queries before supports, or the
        rule is another one.
        Second derivatives exist without queries only; otherwise computing them raises an error.
    """
    native = NATIVE_RULES.get(rule)
    if native is None or episode.n_tasks > 1 or len(weight) > 1 or weight.dtype != x.dtype:
        return None
    n_queries = sum(episode.n_queries)
    n_supports = len(x) - n_queries
    n_values = x[0, 0].numel()
    if any(0 < count * n_values < 2 for count in (n_supports, n_queries)):
        return None
    # Slices of the feature maps are views, and other selections are copies.
    if n_queries and bool(episode.query[:n_supports].any()):
        return None
    return native(norm, x, n_supports, weight[0], bias[0])


def _by_supports(
    norm: nn.Module, x: Tensor, n_supports: int, weight: Tensor, bias: Tensor
) -> Tensor:
    if n_supports == len(x):
        return _by_own_moments(norm, x, weight, bias)
    out: Tensor = _SupportNorm.apply(x, n_supports, weight, bias, _eps(norm))  # type: ignore[no-untyped-call]
    return out


def _by_own_moments(norm: nn.Module, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=_eps(norm))


def _by_supports_and_queries(
    norm: nn.Module, x: Tensor, n_supports: int, weight: Tensor, bias: Tensor
) -> Tensor:
    if n_supports == len(x):
        return _by_own_moments(norm, x, weight, bias)
    parts = (x[:n_supports], x[n_supports:])
    return torch.cat([_by_own_moments(norm, part, weight, bias) for part in parts])


def _by_running_moments(
    norm: nn.Module, x: Tensor, n_supports: int, weight: Tensor, bias: Tensor
) -> Tensor:
    del n_supports
    mean, variance = running_statistics(norm)
    return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=_eps(norm))


NATIVE_RULES: Mapping[BatchNormRule, NativeRule] = MappingProxyType(
    {
        support_moments: _by_supports,
        transductive_moments: _by_supports_and_queries,
        running_moments: _by_running_moments,
    }
)


def _eps(norm: nn.Module) -> float:
    return cast(float, norm.eps)


class _SupportNorm(torch.autograd.Function):
    """Batch norm of all items by the moments of the first, with gradients through the moments."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, n_supports: int, weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        means, variances = channel_moments(x[:n_supports])
        mean, variance = means[0], variances[0]
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.n_supports = n_supports
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # As if the moments were constants; the gradients of scale and shift are also those of the
        # moments, up to factors.
        x_gradient, weight_gradient, bias_gradient = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        supports = x[: ctx.n_supports]
        inverse = (variance + ctx.eps).rsqrt()
        factor = -weight * inverse / supports[:, 0].numel()
        slope = factor * inverse * weight_gradient
        offset = factor * bias_gradient - slope * mean
        spatial = [1] * (x.ndim - 2)
        through_moments = torch.addcmul(
            offset.view(-1, *spatial), supports, slope.view(-1, *spatial)
        )
        x_gradient[: ctx.n_supports] += through_moments
        return x_gradient, None, weight_gradient, bias_gradient, None
