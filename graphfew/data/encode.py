"""Data sets of features: every item is encoded once, by a frozen encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from graphfew.backbones.external import as_module
from graphfew.data.dataset import Dataset
from graphfew.data.io.progress import with_progress
from graphfew.errors import InvalidInputError
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import device_of


def encode(
    data: Dataset,
    encoder: nn.Module | Callable[[Tensor], Tensor],
    *,
    batch: int = 1000,
    progress: bool = True,
) -> Dataset:
    """Encode every item of a data set once, so that many tasks can share the features.

    Args:
        data: items `[n, ...]` that the encoder accepts.
        encoder: a module or function `[N, ...] -> [N, F]`. It runs in evaluation mode and without
            gradients, and its training mode is restored.
        batch: number of items that are encoded at a time.
        progress: show a bar.

    Returns:
        The data set with `x` `[n, F]`, on the device of the items.

    Raises:
        InvalidInputError: the features are not `[n, F]`, or not finite.
        ContractError: a batch norm of the encoder has no running statistics, so that features would
            depend on the other items of a batch.

    Example:
        >>> import graphfew as gf
        >>> features = encode(gf.data.digits(size=8), nn.Flatten(), progress=False)
        >>> features.x.shape
        torch.Size([1797, 64])
    """
    encoder = as_module(encoder)
    device = device_of(encoder)
    starts = range(0, len(data), batch)
    label = f"encoding {data.name}/{data.split}"
    parts = []
    with eval_mode(encoder):
        for start in with_progress(starts, label, len(starts), progress):
            indices = np.arange(start, min(start + batch, len(data)))
            features = encoder(data.gather(indices).to(device))
            # Moved back at once: the features of all items may exceed the memory of the encoder's
            # device.
            parts.append(features.to(data.x.device))
    x = torch.cat(parts)
    if x.ndim != 2:
        raise InvalidInputError(
            f"the encoder returns items of shape {tuple(x.shape[1:])}; features must be flat, [n, "
            "F]"
        )
    return dataclasses.replace(data, x=x)
