"""The smallest values of each row of a large table."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Columns per block, and the fewest columns from which on blocks are faster than a plain `topk`.
BLOCK = 64
MIN_COLUMNS = 10_000


def smallest(
    table: Float[Tensor, "rows N"], k: int
) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
    """Find the `k` smallest values of each row, exactly.

    The minimum of every block of columns is a vectorized pass over the table. The `k` smallest
    values are in the `k` blocks with the smallest minima, so only these few are searched.

    Args:
        table: `[rows, N]`.
        k: number of values, `1 .. N`.

    Returns:
        The values, smallest first, and their columns, `[rows, k]` each. The order of equal values
        is undefined.

    Example:
        >>> import torch
        >>> from graphfew.ops.smallest import smallest
        >>> values, columns = smallest(torch.tensor([[3.0, 1.0, 2.0]]), 2)
        >>> values.tolist(), columns.tolist()
        ([[1.0, 2.0]], [[1, 2]])
    """
    n_rows, n_columns = table.shape
    n_blocks = n_columns // BLOCK
    if n_columns < MIN_COLUMNS or n_blocks < k:
        plain = table.topk(k, dim=1, largest=False)
        return plain.values, plain.indices
    n_blocked = n_blocks * BLOCK
    minima = table[:, :n_blocked].view(n_rows, n_blocks, BLOCK).amin(2)
    block = minima.topk(k, dim=1, largest=False).indices
    columns = torch.arange(BLOCK, device=table.device) + BLOCK * block[:, :, None]
    # The columns after the last whole block are searched as well.
    rest = torch.arange(n_blocked, n_columns, device=table.device).expand(n_rows, -1)
    candidates = torch.cat([columns.flatten(1), rest], dim=1)
    nearest = table.gather(1, candidates).topk(k, dim=1, largest=False)
    return nearest.values, candidates.gather(1, nearest.indices)
