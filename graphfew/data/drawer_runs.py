"""Tasks in which one person drew all references and another one all queries."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.data.dataset import Dataset
from graphfew.data.draws import (
    QUERY,
    SUPPORT,
    Index,
    TaskDraw,
    check_seed,
    gather_tasks,
    task_number,
)
from graphfew.errors import InvalidInputError


@dataclasses.dataclass(frozen=True, eq=False)
class DrawerRuns:
    """One-shot tasks within a group of classes, made as the published runs of Omniglot are.

    One drawer supplies the reference of every class and another drawer one query of every class.
    Task `i` takes group `i`, then the first one again; its classes and both drawers are drawn,
    unless the data set has no choice, as `graphfew.data.omniglot_runs`. `runs[i]` depends on
    `(seed, i)` alone.

    Args:
        data: a data set with groups and the metadata `drawer`, such as `graphfew.data.omniglot`
            without rotations. Drawers with the same number are one person within a group.
        way: number of classes; groups with fewer are left out.
        seed: seed of all draws.
        fixed_roles: True if drawer 1 always supplies the references and drawer 2 the queries.

    Raises:
        InvalidInputError: no group has enough classes, the metadata `drawer` is absent, or a class
            lacks a drawing of a drawer.

    Example:
        >>> import graphfew as gf
        >>> data = gf.data.glyphs("test")
        >>> DrawerRuns(data)
        Traceback (most recent call last):
            ...
        graphfew.errors.InvalidInputError: glyphs has no metadata 'drawer'; ...

    Source:
        Lake, Salakhutdinov and Tenenbaum, 2015, "Human-level concept learning through probabilistic
        program induction".

    Deviations:
        Characters and drawers are drawn uniformly; the published runs were selected for variety of
        characters and similarity of drawing styles.
    """

    data: Dataset
    way: int = 20
    seed: int = 0
    fixed_roles: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if "drawer" not in self.data.metadata:
            raise InvalidInputError(
                f"{self.data.name} has no metadata 'drawer'; use omniglot, or Tasks for other data"
            )
        if self.way < 2 or not self._pools:
            largest = max((len(pool) for pool in self.data.group_classes.values()), default=0)
            raise InvalidInputError(
                f"way is {self.way}, but the largest group has {largest} classes; choose 2.."
                f"{max(largest, 2)}"
            )
        if self._table.min() < 0:
            raise InvalidInputError(
                f"{self.data.name} has classes without a drawing of each drawer; every class needs "
                "one by each, as in omniglot"
            )

    def __len__(self) -> int:
        """Return the number of groups: with fixed roles, the number of different tasks."""
        return len(self._pools)

    def __getitem__(self, index: SupportsIndex) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Return one task, as `batch` does."""
        # With a length, Python's iteration protocol stops at IndexError.
        if self.fixed_roles and task_number(index) >= len(self):
            raise IndexError(f"there are {len(self)} runs, so the last one is {len(self) - 1}")
        return self.batch((index,))

    def batch(self, indices: Iterable[SupportsIndex]) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Return several tasks as one episode.

        Args:
            indices: numbers of the tasks.

        Returns:
            The episode, and the class index of each query in node order, `[Q]` int64.

        Raises:
            IndexError: an index is negative.
            InvalidInputError: there are no indices.
        """
        return gather_tasks(self.data, [self.draw(index) for index in indices])

    def draw(self, index: SupportsIndex) -> TaskDraw:
        """Draw the items of one task: all references, then all queries in random order.

        Args:
            index: number of the task.

        Returns:
            Items, labels, roles and classes of the task.

        Raises:
            IndexError: the index is negative.
        """
        number = task_number(index)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        pool = self._pools[number % len(self._pools)]
        classes = pool[rng.choice(len(pool), self.way, replace=False)]
        references, queries = rng.choice(self._table.shape[1], 2, replace=False).tolist()
        if self.fixed_roles:
            references, queries = 0, 1
        order = rng.permutation(self.way)
        label = np.concatenate([np.arange(self.way), order])
        items = np.concatenate(
            [self._table[classes, references], self._table[classes[order], queries]]
        )
        return TaskDraw(items, label, np.array([SUPPORT, QUERY]).repeat(self.way), classes)

    def describe(self) -> dict[str, Any]:
        """Return what defines these tasks, ready for JSON, with the pairing of drawers."""
        drawers = "published" if self.fixed_roles else "one for references, another for queries"
        return {
            "data": self.data.name,
            "split": self.data.split,
            "way": self.way,
            "shot": 1,
            "unlabeled": 0,
            "query": "one-per-class",
            "seed": int(self.seed),
            "within_groups": True,
            "drawers": drawers,
        }

    @cached_property
    def _pools(self) -> tuple[Index, ...]:
        pools = self.data.group_classes.values()
        return tuple(pool for pool in pools if len(pool) >= self.way)

    @cached_property
    def _table(self) -> Index:
        """`[classes, drawers]` item of each class by each drawer, or -1."""
        drawer = self.data.metadata["drawer"].numpy(force=True)
        numbers, column = np.unique(drawer, return_inverse=True)
        table = np.full((len(self.data.classes), len(numbers)), -1, dtype=np.int64)
        table[self.data.y.numpy(), column] = np.arange(len(drawer))
        return table
