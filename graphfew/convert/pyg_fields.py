"""torch-geometric's `Data` and `Batch`, read into plain tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

NEEDED = ("x", "y", "query")


def parts(data: Data) -> list[Data]:
    """The `Data` that a `Batch` was made of; a plain `Data`, or one with a `batch` written by hand, is a single part.

    Raises:
        ValueError: x, y or query is missing, or has another length than it needs.
    """
    made = isinstance(data, Batch) and hasattr(data, "_slice_dict")
    found: list[Data] = data.to_data_list() if made else [data]
    if not found:
        raise ValueError("the Batch is empty; an episode needs at least one task")
    for number, part in enumerate(found):
        _check(part, f" (number {number} of the Batch)" if made else "")
    return found


def sizes(part: Data) -> list[int]:
    """Items of each task in a part: its `sizes`, else those of its `batch`, else one task of all items.

    Raises:
        ValueError: a `batch` that is not in ascending order or leaves a number out.
    """
    items = len(part.y)
    if "sizes" in part:
        return [int(size) for size in _flat(part.sizes)]
    if part.get("batch") is None:
        return [items]
    task = part.batch[:items]
    if bool((task.diff() < 0).any()):
        raise ValueError(
            "the Data's batch is not in ascending order; nodes of a task must be adjacent"
        )
    counts: list[int] = torch.bincount(task).tolist()
    if 0 in counts:
        raise ValueError(
            f"the Data's batch names no node of task {counts.index(0)}; number tasks without gaps"
        )
    return counts


def ways(part: Data) -> list[int]:
    """Classes of each task in a part: its `way`, else one more than the largest label."""
    if "way" in part:
        return [int(way) for way in _flat(part.way)]
    return [int(y.max()) + 1 for y in torch.split(part.y, sizes(part))]


def items(data: Data) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...], tuple[int, ...]]:
    """`x`, `y`, `query`, sizes and way of an episode; class nodes, which follow the items of their part, are left out.

    Raises:
        ValueError: as `parts` and `sizes` do.
    """
    found = parts(data)
    x, y, query = (torch.cat([part[name][: len(part.y)] for part in found]) for name in NEEDED)
    return (
        x,
        y,
        query,
        tuple(size for part in found for size in sizes(part)),
        tuple(way for part in found for way in ways(part)),
    )


def _check(part: Data, where: str) -> None:
    missing = [name for name in NEEDED if part.get(name) is None]
    if missing:
        raise ValueError(
            f"the Data has no {missing[0]}{where}; an episode needs x [N, F], y [N] (-1 unknown), "
            "query [N]"
        )
    if len(part.query) != len(part.y) or len(part.x) < len(part.y):
        raise ValueError(
            f"the Data has {len(part.y)} labels, {len(part.query)} query marks and {len(part.x)} rows of "
            "x; give one of each per item (class nodes follow the items in x alone)"
        )


def _flat(value: int | Tensor | Sequence[int]) -> list[int]:
    return list(torch.as_tensor(value).flatten().tolist())
