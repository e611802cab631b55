"""Random numbers of a block of code, independent of the global state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from graphfew.errors import InvalidInputError


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Seed PyTorch's random generators inside a `with` block, and restore them afterwards.

    Covers the CPU and, if available, the current CUDA device. The generators of Python and NumPy
    are unaffected.

    Args:
        *seed: one or more integers, mixed by NumPy's `SeedSequence`, so that `seeded(1, 2)` and
            `seeded(2, 1)` are independent.

    Yields:
        None, once: the generators are seeded in the body of the `with` statement.

    Raises:
        InvalidInputError: if no integer is given, or a negative one.

    Example:
        >>> import torch
        >>> from graphfew._utils.seeding import seeded
        >>> with seeded(0):
        ...     first = torch.rand(2)
        >>> with seeded(0):
        ...     print(torch.equal(first, torch.rand(2)))
        True
    """
    if not seed or min(seed) < 0:
        raise InvalidInputError(f"seeded got {seed}; give one or more integers, all at least 0")
    # SeedSequence pads with zeros: without the length, (1,) and (1, 0) would be the same seed.
    sequence = np.random.SeedSequence((len(seed), *seed))
    state = int(sequence.generate_state(1, np.uint64)[0])
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed, which seeds all CUDA devices, of which only one is restored.
        torch.default_generator.manual_seed(state)
        if torch.cuda.is_available():
            torch.cuda.manual_seed(state)
        yield


def torch_generator(sequence: np.random.SeedSequence) -> torch.Generator:
    """Return a generator of PyTorch on the CPU, seeded by NumPy."""
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)
