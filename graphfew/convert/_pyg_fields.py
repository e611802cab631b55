"""Reading the fields of an episode from torch-geometric's `Data` and `Batch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphfew.errors import InvalidInputError

REQUIRED = ("x", "y", "query")


class EpisodeFields(NamedTuple):
    """The constructor arguments of an `Episode`."""

    x: Tensor
    y: Tensor
    query: Tensor
    sizes: tuple[int, ...]
    way: tuple[int, ...]


def split_batch(data: Data) -> list[Data]:
    """Return the `Data` objects of a `Batch`, and check the length of their fields.

    A plain `Data` is a single part, and so is one with a `batch` vector written by hand.
    """
    # Only Batch.from_data_list stores what to_data_list needs.
    is_batch = isinstance(data, Batch) and hasattr(data, "_slice_dict")
    parts: list[Data] = data.to_data_list() if is_batch else [data]
    if not parts:
        raise InvalidInputError("the Batch is empty; an episode needs at least one task")
    for number, part in enumerate(parts):
        _check_fields(part, f" (number {number} of the Batch)" if is_batch else "")
    return parts


def task_sizes(part: Data) -> list[int]:
    """Return the items of each task of a part, by its `sizes`, else by its `batch` vector."""
    n_items = len(part.y)
    if "sizes" in part:
        return _int_list(part.sizes)
    if part.get("batch") is None:
        return [n_items]
    # `batch` also counts class nodes, which follow the items.
    task = part.batch[:n_items]
    if bool((task.diff() < 0).any()):
        raise InvalidInputError(
            "the Data's batch is not in ascending order; nodes of a task must be adjacent"
        )
    counts: list[int] = torch.bincount(task).tolist()
    if 0 in counts:
        raise InvalidInputError(
            f"the Data's batch has no node of task {counts.index(0)}; number tasks without gaps"
        )
    return counts


def task_ways(part: Data) -> list[int]:
    """Return the classes of each task of a part, by its `way`, else by the largest label."""
    if "way" in part:
        return _int_list(part.way)
    # Right if every class has a labeled item, which an episode requires.
    labels = torch.split(part.y, task_sizes(part))
    return [int(y.max()) + 1 for y in labels]


def episode_fields(data: Data) -> EpisodeFields:
    """Return the fields of an episode; class nodes, which follow the items, are left out."""
    x, y, query = [], [], []
    sizes: list[int] = []
    ways: list[int] = []
    for part in split_batch(data):
        n_items = len(part.y)
        x.append(part.x[:n_items])
        y.append(part.y)
        query.append(part.query[:n_items])
        sizes += task_sizes(part)
        ways += task_ways(part)
    return EpisodeFields(torch.cat(x), torch.cat(y), torch.cat(query), tuple(sizes), tuple(ways))


def _check_fields(part: Data, where: str) -> None:
    missing = [name for name in REQUIRED if part.get(name) is None]
    if missing:
        raise InvalidInputError(
            f"the Data has no {missing[0]}{where}; an episode needs x [N, F], y [N] (-1 unknown), "
            "query [N]"
        )
    if len(part.query) != len(part.y) or len(part.x) < len(part.y):
        raise InvalidInputError(
            f"the Data has {len(part.y)} labels, {len(part.query)} query marks and {len(part.x)} "
            "rows of x; give one of each per item (class nodes follow the items in x alone)"
        )


def _int_list(value: int | Tensor | Sequence[int]) -> list[int]:
    return [int(v) for v in torch.as_tensor(value).flatten().tolist()]
