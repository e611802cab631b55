"""The content of drawn tasks, as indices into a data set, and the episode that is gathered for it."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import UNKNOWN, Episode, unchecked_episode
from graphfew.data.dataset import Dataset
from graphfew.errors import InvalidInputError

Index = NDArray[np.int64]
SUPPORT, UNLABELED, QUERY = ROLES = 0, 1, 2


@dataclasses.dataclass(frozen=True, eq=False)
class TaskDraw:
    """The content of one task, as indices into its data set.

    Attributes:
        items: `[N]` index of each node's item in the data set.
        label: `[N]` class index of each node within the task, hidden labels included; -1 for items
            of distractor classes.
        role: `[N]` SUPPORT, UNLABELED or QUERY.
        classes: `[way]` class index in the data set of each class of the task.

    Example:
        >>> import graphfew as gf
        >>> draw = gf.Tasks(gf.data.digits(), way=2, query=1, shuffle=False).draw(0)
        >>> draw.label, draw.role
        (array([0, 1, 0, 1]), array([0, 0, 2, 2]))
    """

    items: Index
    label: Index
    role: Index
    classes: Index


def check_seed(seed: int) -> None:
    """Raise InvalidInputError for a negative seed, TypeError for one that is not an integer."""
    # operator.index refuses floats now; SeedSequence would refuse them at the first draw.
    if operator.index(seed) < 0:
        raise InvalidInputError(f"seed is {seed}; it must be 0 or more")


def task_number(index: SupportsIndex) -> int:
    """Return the number of a task. Raises IndexError if it is negative."""
    number = operator.index(index)
    if number < 0:
        raise IndexError(
            f"task {number}: tasks are endless and have no last one; indices are 0 or more"
        )
    return number


def gather_tasks(data: Dataset, draws: Sequence[TaskDraw]) -> tuple[Episode, Int[Tensor, " Q"]]:
    """Gather the items of several tasks as one episode.

    Args:
        data: the data set that the draws index.
        draws: the tasks.

    Returns:
        The episode, and the class index of each query in node order, `[Q]` int64.

    Raises:
        InvalidInputError: there are no draws.
    """
    if not draws:
        raise InvalidInputError("batch got no indices; pass at least one")
    x = data.gather(np.concatenate([draw.items for draw in draws]))
    return assemble_tasks(x, draws)


def assemble_tasks(x: Tensor, draws: Sequence[TaskDraw]) -> tuple[Episode, Int[Tensor, " Q"]]:
    """Make one episode of several tasks whose items are already gathered.

    Args:
        x: `[N, ...]` items of all tasks, in order.
        draws: the tasks, at least one; their `items` are not read.

    Returns:
        The episode, and the class index of each query in node order, `[Q]` int64.
    """
    label = np.concatenate([draw.label for draw in draws])
    role = np.concatenate([draw.role for draw in draws])
    is_query = role == QUERY
    # Draws are valid by construction, and validation would read the device's memory for every
    # batch.
    episode = unchecked_episode(
        x=x,
        y=torch.from_numpy(np.where(role == SUPPORT, label, UNKNOWN)).to(x.device),
        query=torch.from_numpy(is_query).to(x.device),
        sizes=tuple(len(draw.role) for draw in draws),
        way=tuple(len(draw.classes) for draw in draws),
        n_queries=tuple(int(np.count_nonzero(draw.role == QUERY)) for draw in draws),
        n_unlabeled=tuple(int(np.count_nonzero(draw.role == UNLABELED)) for draw in draws),
    )
    return episode, torch.from_numpy(label[is_query]).to(x.device)
