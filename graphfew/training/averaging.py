"""Exponential moving average of weights, with a warm-up of its decay."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def ema(model: nn.Module, decay: float) -> AveragedModel:
    """Create an exponential moving average (EMA) of a model's weights and buffers.

    Update number `k` (from 1) uses the decay `min(decay, k / (k + 9))`, so that the initial
    weights are forgotten quickly. Integer buffers are copied.

    Args:
        model: the model to average; the average starts as a copy of it.
        decay: decay of the average, between 0 and 1.

    Returns:
        PyTorch's `AveragedModel`: call `update_parameters(model)` after each step; its `module`
        has the averaged weights.

    Example:
        >>> import graphfew as gf
        >>> model = torch.nn.Linear(1, 1)
        >>> average = gf.training.ema(model, 0.999)
        >>> _ = torch.nn.init.constant_(model.weight, 2.0), average.module.weight.data.fill_(0.0)
        >>> average.update_parameters(model)  # the first decay is 1 / 10
        >>> round(average.module.weight.item(), 4)
        1.8
    """

    @torch.no_grad()
    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # Integers, such as the number of batches that a batch norm has tracked, have no average.
        if not averaged.is_floating_point():
            return current
        n = int(count)
        # n / (n + 9) lets the first steps forget the initial weights before `decay` takes over.
        return averaged.lerp(current, 1 - min(decay, n / (n + 9)))

    averaged_model = AveragedModel(model, avg_fn=average, use_buffers=True)
    # AveragedModel copies the weights at count 0; we average from the first step on.
    averaged_model.n_averaged.fill_(1)
    return averaged_model
