"""Data sets of features: every item through a frozen encoder once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from graphfew.backbones.external import as_module
from graphfew.data.dataset import Dataset
from graphfew.data.io.cache import progressing
from graphfew.nn.method import device_of


def encode(
    data: Dataset,
    encoder: nn.Module | Callable[[Tensor], Tensor],
    *,
    batch: int = 1000,
    progress: bool = True,
) -> Dataset:
    """The same data set with every item encoded, `x [n, F]` where the items were: any number of tasks encode each once.

    Args:
        data: as the encoder takes it.
        encoder: `[N, ...] -> [N, F]`, a function or a module, which runs in evaluation mode, without gradients, and is
            left as it was.
        batch: items at a time.
        progress: show a bar.

    Raises:
        ValueError: the features are not `[n, F]`, or not finite.
    """
    encoder = as_module(encoder)
    modes = {module: module.training for module in encoder.modules()}
    starts = range(0, len(data), batch)
    device = device_of(encoder)
    encoder.eval()
    try:
        with torch.no_grad():
            parts = [
                encoder(data.gather(np.arange(start, min(start + batch, len(data)))).to(device)).to(
                    data.x.device
                )
                for start in progressing(
                    starts, f"encoding {data.name}/{data.split}", len(starts), progress
                )
            ]
    finally:
        for module, mode in modes.items():
            module.training = mode
    features = torch.cat(parts)
    if features.ndim != 2:
        raise ValueError(
            f"the encoder gives items of shape {tuple(features.shape[1:])}; features must be flat, [n, F]"
        )
    return dataclasses.replace(data, x=features)
