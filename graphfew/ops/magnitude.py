"""TODO module docstring."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = {torch.float64: 2.0**256, torch.float32: 2.0**32, torch.bfloat16: 2.0**32}


def clamp_magnitude(x: Tensor) -> Tensor:
    """`x [N, ...]`, where an item with a value beyond 2^32 (float64: 2^256) is brought down to it, all of it by one
    factor, so that squares of what comes out and products of two squares are finite.

    Items within the bound, and each of their bits, stay as they are, and so does all that is half or no float.
    """
    bound = LARGEST.get(x.dtype)
    if bound is None:
        return x
    peak = torch.linalg.vector_norm(x.detach().flatten(1), torch.inf, dim=1).clamp_min(bound)
    out: Tensor = x * (bound / peak).view(-1, *[1] * (x.ndim - 1))
    return out
