"""A bound on the magnitude of features, so that squared distances stay finite."""

from __future__ import annotations

import torch
from torch import Tensor

from graphfew.ops.tracing import is_eager

# Squares of these, and products of two squares, are finite. float16 has no room for such a bound.
LARGEST = {torch.float64: 2.0**256, torch.float32: 2.0**32, torch.bfloat16: 2.0**32}


def clamp_magnitude(x: Tensor) -> Tensor:
    """Scale down each item `[N, ...]` with a value beyond 2^32 (float64: 2^256), as a whole.

    Squares of the result, and products of two squares, are finite. Items within the bound are
    returned bit for bit, and so are float16 and integer tensors.
    """
    bound = LARGEST.get(x.dtype)
    if bound is None:
        return x
    # Usually all items are within the bound, which a single pass over the values shows.
    values = x.detach()
    if is_eager(x) and torch.linalg.vector_norm(values).item() < bound:
        return x
    values = values.flatten(1)
    # Two passes are several times faster than `vector_norm` with the maximum norm.
    norm = torch.maximum(values.amax(1), -values.amin(1))
    # The factor of an item within the bound is exactly 1.
    factor = bound / norm.clamp_min(bound)
    item_dims = [1] * (x.ndim - 1)
    out: Tensor = x * factor.view(-1, *item_dims)
    return out
