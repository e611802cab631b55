"""How hard classes are, and tasks that start with the easiest ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from graphfew.data.dataset import Dataset
from graphfew.data.draws import Index
from graphfew.data.tasks import Tasks
from graphfew.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """Restricts the first tasks to the easiest half of the classes, or of the groups.

    Attributes:
        difficulty: `[classes]`, larger for harder classes; see `prototype_difficulty`.
        n_easy_tasks: number of tasks that are restricted, such as half of all training tasks.

    Example:
        >>> Curriculum((0.1, 0.5, 0.2), n_easy_tasks=1000).n_easy_tasks
        1000
    """

    difficulty: tuple[float, ...]
    n_easy_tasks: int


def prototype_difficulty(features: Dataset) -> tuple[float, ...]:
    """Compute how hard each class is for prototypes: its error among all classes.

    Each item is assigned to the nearest class mean; that of its own class is without the item.

    Args:
        features: a data set of features `[n, F]`, such as the result of `encode`.

    Returns:
        For each class the fraction of its items that are nearer to another class.

    Raises:
        InvalidInputError: items are not features, or a class has a single item.

    Example:
        >>> import graphfew as gf
        >>> x = torch.tensor([[0.0], [0.1], [1.0], [0.2]])
        >>> prototype_difficulty(gf.data.arrays(x, [0, 0, 1, 1]))
        (0.0, 0.5)
    """
    x, y = features.x.flatten(1).double().cpu(), features.y
    counts = torch.bincount(y, minlength=len(features.classes))
    if features.x.ndim != 2 or int(counts.min()) < 2:
        raise InvalidInputError(
            f"{features!r} must hold features [n, F] and two items or more of each class"
        )
    n_classes = len(counts)
    means = x.new_zeros(n_classes, x.shape[1]).index_add(0, y, x) / counts[:, None]
    distance = torch.cdist(x, means)
    own = distance.gather(1, y[:, None])
    # Without the item, its class mean is farther away by this factor.
    own = own * (counts / (counts - 1))[y][:, None]
    distance.scatter_(1, y[:, None], own)
    is_wrong = (distance.argmin(1) != y).double()
    errors = is_wrong.new_zeros(n_classes).index_add(0, y, is_wrong) / counts
    return tuple(errors.tolist())


def easiest_classes(tasks: Tasks, curriculum: Curriculum) -> Index:
    """Return the easiest half of the classes, or all classes of the easiest half of the groups.

    Args:
        tasks: their data set, and whether classes of a task are from one group.
        curriculum: the difficulty of each class.

    Raises:
        InvalidInputError: the difficulty does not fit the data set.
    """
    data = tasks.data
    difficulty = np.array(curriculum.difficulty)
    n_classes = len(data.classes)
    if difficulty.shape != (n_classes,) or not np.isfinite(difficulty).all():
        raise InvalidInputError(
            f"difficulty has {difficulty.size} values; pass one finite value for each of the "
            f"{n_classes} classes"
        )
    units = [np.array([c]) for c in range(n_classes)]
    if tasks.within_groups:
        units = list(data.group_classes.values())
    means = [float(difficulty[unit].mean()) for unit in units]
    n_easy = -(-len(units) // 2)
    easiest = np.argsort(means, kind="stable")[:n_easy]
    return np.concatenate([units[unit] for unit in easiest])
