"""Tasks: an endless, reproducible sequence of episodes drawn from a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import UNKNOWN, Episode
from graphfew.data._task_checks import TaskRanges, check_tasks, n_labeled_shots
from graphfew.data.dataset import Dataset
from graphfew.data.draws import (
    QUERY,
    ROLES,
    SUPPORT,
    UNLABELED,
    Index,
    TaskDraw,
    check_seed,
    gather_tasks,
    task_number,
)
from graphfew.data.int_range import IntOrRange, IntRange
from graphfew.data.query_protocols import QuerySampler
from graphfew.data.query_sampling import balanced, draw_queries

# Up to this size, permuting a class is faster than numpy's choice without replacement.
# The two give different items, so another size would change the tasks of a seed.
_MAX_PERMUTED_CLASS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Tasks:
    """Few-shot tasks of a data set. There is no end: `tasks[i]` is a task for any `i >= 0`.

    `tasks[i]` depends on `(seed, i)` alone. Its items are drawn on the CPU, so they are the same on
    every machine; the episode is on the device of the data set's `x`. Classes are drawn without
    replacement, in random order, and no item appears twice in a task.

    Args:
        data: items and classes.
        way: number of classes: an int, or an inclusive range `(low, high)` that is drawn uniformly
            per task.
        shot: support items per class (int or range).
        query: queries per class (int or range), or a `QuerySampler`. If a class has too few items
            left for the queries that a sampler draws, the other classes of the task supply the
            rest (`effective_classes` never adds a class; it raises an error).
        unlabeled: additional unlabeled items per class (int or range).
        seed: seed of all draws.
        within_groups: draw all classes of a task from one group, chosen uniformly among groups with
            enough classes.
        shuffle: whether nodes are in random order. If False, they are sorted by role (support,
            unlabeled, query) and class. The items are the same.
        label_noise: probability with which each support item is replaced by an item of a class
            outside the task, under the same label. The other items are the same for every noise
            level.
        labeled_ratio: fraction of each class's shots that keep their label, at least one; the
            others become unlabeled items. One of several fractions is drawn uniformly per task. The
            items are the same for every ratio.
        distractors: number of classes outside the task (int or range) that contribute `unlabeled`
            items each.

    Raises:
        InvalidInputError: a number out of range, or a data set with too few classes or items for
            the largest task.

    Example:
        >>> import graphfew as gf
        >>> tasks = Tasks(gf.data.digits(), way=5, shot=1, query=3)
        >>> episode, target = tasks[0]
        >>> episode.x.shape, target.shape
        (torch.Size([20, 1, 28, 28]), torch.Size([15]))
    """

    data: Dataset
    way: IntOrRange = 5
    shot: IntOrRange = 1
    query: IntOrRange | QuerySampler = 5
    unlabeled: IntOrRange = 0
    seed: int = 0
    within_groups: bool = False
    shuffle: bool = True
    label_noise: float = 0.0
    labeled_ratio: float | tuple[float, ...] = 1.0
    distractors: IntOrRange = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_tasks(self)

    def __getitem__(self, index: SupportsIndex) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Return one task.

        Args:
            index: number of the task.

        Returns:
            The episode, and the class index of each query in node order, `[Q]` int64.

        Raises:
            IndexError: the index is negative.
        """
        return self.batch((index,))

    def batch(self, indices: Iterable[SupportsIndex]) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Return several tasks as one episode: `collate` of the single tasks, but gathered at once.

        Args:
            indices: numbers of the tasks.

        Returns:
            The episode, and the class index of each query in node order, `[Q]` int64.

        Raises:
            IndexError: an index is negative.
            InvalidInputError: there are no indices.

        Example:
            >>> import graphfew as gf
            >>> episode, target = Tasks(gf.data.digits(), way=2, query=1).batch(range(3))
            >>> episode.sizes
            (4, 4, 4)
        """
        return gather_tasks(self.data, [self.draw(index) for index in indices])

    def draw(self, index: SupportsIndex, classes: Index | None = None) -> TaskDraw:
        """Draw the items of one task.

        Args:
            index: number of the task.
            classes: `[way]` its classes; None draws them too.

        Returns:
            Items, labels, roles and classes of the task.

        Raises:
            IndexError: the index is negative.
        """
        number = task_number(index)
        # The order of the draws below defines what a task is: it must not change.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        shot = self.ranges.shot.draw(rng)
        unlabeled = self.ranges.unlabeled.draw(rng)
        # Drawn also if classes are given, so that a task has the same draws after this one.
        drawn_classes = self._draw_classes(rng)
        classes = drawn_classes if classes is None else classes
        n_context = shot + unlabeled
        capacity = self.class_sizes[classes] - n_context
        n_queries = draw_queries(self.sampler, capacity, rng)
        counts = n_context + n_queries

        # One draw per class for all roles, so that no item has two of them.
        items = _draw_items(rng, [self.data.members[c] for c in classes], counts)
        # Drawn after the items, so that they are the same for every ratio.
        ratio = self.ratios[IntRange(0, len(self.ratios) - 1).draw(rng)]
        n_labeled = n_labeled_shots(shot, ratio)
        role = _build_roles(n_labeled, n_context - n_labeled, n_queries)
        label = np.arange(len(classes)).repeat(counts)

        distractor_items = self._draw_distractors(rng, classes, unlabeled)
        n_distractors = len(distractor_items)
        items = np.concatenate([items, distractor_items])
        role = np.concatenate([role, np.full(n_distractors, UNLABELED)])
        label = np.concatenate([label, np.full(n_distractors, UNKNOWN)])

        order = rng.permutation(len(items)) if self.shuffle else np.argsort(role, kind="stable")
        # Last of all draws, so that the other items are the same for every noise level.
        if self.label_noise:
            items = self._add_label_noise(rng, items, role, classes)
        return TaskDraw(items[order], label[order], role[order], classes)

    def describe(self) -> dict[str, Any]:
        """Return what defines these tasks, ready for JSON.

        A range is `[low, high]`, and a sampler its text form.
        Options that are rarely used appear only if they differ from their default.

        Example:
            >>> import graphfew as gf
            >>> Tasks(gf.data.digits(), shot=(1, 5), query=gf.data.single()).describe()["query"]
            'single'
        """
        ratios = self.ratios[0] if len(self.ratios) == 1 else list(self.ratios)
        described: dict[str, Any] = {
            "data": self.data.name,
            "split": self.data.split,
            "way": self.ranges.way.to_json(),
            "shot": self.ranges.shot.to_json(),
            "unlabeled": self.ranges.unlabeled.to_json(),
            "query": str(self.sampler),
            "seed": int(self.seed),
            "within_groups": self.within_groups,
        }
        if not self.shuffle:
            described["shuffle"] = False
        if self.label_noise != 0:
            described["label_noise"] = self.label_noise
        if ratios != 1:
            described["labeled_ratio"] = ratios
        if self.ranges.distractors != IntRange(0, 0):
            described["distractors"] = self.ranges.distractors.to_json()
        return described

    @cached_property
    def ranges(self) -> TaskRanges:
        """The numbers of a task as checked ranges."""
        return TaskRanges(
            way=IntRange.of(self.way, name="way", minimum=2),
            shot=IntRange.of(self.shot, name="shot", minimum=1),
            unlabeled=IntRange.of(self.unlabeled, name="unlabeled"),
            distractors=IntRange.of(self.distractors, name="distractors"),
        )

    @cached_property
    def sampler(self) -> QuerySampler:
        """The sampler of the number of queries."""
        if isinstance(self.query, QuerySampler):
            return self.query
        return balanced(IntRange.of(self.query, name="query", minimum=1))

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """The labeled ratios that a task draws from."""
        if isinstance(self.labeled_ratio, tuple):
            return tuple(float(ratio) for ratio in self.labeled_ratio)
        return (float(self.labeled_ratio),)

    @cached_property
    def class_sizes(self) -> Index:
        """`[classes]` number of items of each class of the data set."""
        return np.array([len(items) for items in self.data.members])

    @cached_property
    def class_pools(self) -> Mapping[int, tuple[Index, ...]]:
        """Class sets that a task is drawn from, by way: all classes, or each group of that size."""
        pools = [np.arange(len(self.data.classes))]
        if self.within_groups:
            pools = list(self.data.group_classes.values())
        ways = range(self.ranges.way.low, self.ranges.way.high + 1)
        return {way: tuple(pool for pool in pools if len(pool) >= way) for way in ways}

    def _draw_classes(self, rng: np.random.Generator) -> Index:
        way = self.ranges.way.draw(rng)
        pools = self.class_pools[way]
        pool = pools[IntRange(0, len(pools) - 1).draw(rng)]
        return pool[rng.choice(len(pool), way, replace=False)]

    def _draw_distractors(
        self, rng: np.random.Generator, classes: Index, n_per_class: int
    ) -> Index:
        """Draw the items of distractor classes."""
        n_classes = self.ranges.distractors.draw(rng)
        if n_classes == 0:
            return np.empty(0, dtype=np.int64)
        outside_classes = np.setdiff1d(np.arange(len(self.data.classes)), classes)
        chosen = rng.choice(outside_classes, n_classes, replace=False)
        counts = np.full(n_classes, n_per_class)
        return _draw_items(rng, [self.data.members[c] for c in chosen], counts)

    def _add_label_noise(
        self, rng: np.random.Generator, items: Index, role: Index, classes: Index
    ) -> Index:
        """Replace support items at random by items of classes outside the task."""
        is_replaced = (role == SUPPORT) & (rng.random(len(items)) < self.label_noise)
        is_outside: NDArray[np.bool_] = ~np.isin(self.data.y.numpy(force=True), classes)
        # Items of distractor classes are in the task already.
        is_outside[items] = False
        replaced = np.flatnonzero(is_replaced)
        noisy: Index = items.copy()
        noisy[replaced] = rng.choice(np.flatnonzero(is_outside), len(replaced), replace=False)
        return noisy


def _draw_items(rng: np.random.Generator, classes: list[Index], counts: Index) -> Index:
    """Draw items of several classes without replacement.

    Args:
        rng: source of randomness.
        classes: for each class the indices of its items.
        counts: number of items to draw from each class.

    Returns:
        The drawn items, class by class.
    """
    drawn = []
    for items, count in zip(classes, counts.tolist(), strict=True):
        if len(items) <= _MAX_PERMUTED_CLASS:
            chosen = rng.permutation(len(items))[:count]
        else:
            chosen = rng.choice(len(items), count, replace=False)
        drawn.append(items[chosen])
    return np.concatenate(drawn)


def _build_roles(n_support: int, n_unlabeled: int, n_queries: Index) -> Index:
    """Return the role of each node, class by class: support, unlabeled, query."""
    counts = np.empty((len(n_queries), len(ROLES)), dtype=np.int64)
    counts[:, SUPPORT] = n_support
    counts[:, UNLABELED] = n_unlabeled
    counts[:, QUERY] = n_queries
    # Rows are classes and columns are roles, so that `ravel` goes class by class.
    return np.array(ROLES * len(n_queries)).repeat(counts.ravel())
