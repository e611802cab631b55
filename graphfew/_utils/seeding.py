"""`seeded`: randomness for a block of code, without a trace in the global state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Seed PyTorch's generators inside a `with` block and restore them on leaving it, also after an error.

    The integers are mixed by NumPy's `SeedSequence`, so `seeded(1, 2)` and `seeded(2, 1)` are unrelated. Covers the CPU
    and, where CUDA is available, the current CUDA device. Python's and NumPy's own generators are left alone.

    Raises:
        ValueError: no integer, or a negative one.
    """
    if not seed or min(seed) < 0:
        raise ValueError(f"seeded got {seed}; give one or more integers, none negative")
    # SeedSequence pads with zeros: without its length, (1,) and (1, 0) would be one seed
    state = int(np.random.SeedSequence((len(seed), *seed)).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng(devices=_cuda_devices()):
        torch.default_generator.manual_seed(state)
        if torch.cuda.is_available():
            torch.cuda.manual_seed(state)
        yield


def _cuda_devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []
