"""Tasks: an endless, reproducible series of episodes drawn from a data set."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import UNKNOWN, Episode, unchecked_episode
from graphfew.data.dataset import Dataset
from graphfew.data.int_range import IntOrRange, IntRange
from graphfew.data.query_sampling import QuerySampler, balanced, fit_queries

Index = NDArray[np.int64]
SUPPORT, UNLABELED, QUERY = ROLES = 0, 1, 2


@dataclasses.dataclass(frozen=True, eq=False)
class TaskDraw:
    """What one task is made of, as indices into its data set.

    Shapes:
        items: `[N]` the data set's item at each node.
        label: `[N]` class index inside the task, of every node, hidden ones too; `-1` for items of distractor classes.
        role: `[N]` SUPPORT, UNLABELED or QUERY.
        classes: `[way]` the data set's class behind each class index of the task.
    """

    items: Index
    label: Index
    role: Index
    classes: Index


@dataclasses.dataclass(frozen=True, eq=False)
class Tasks:
    """Few-shot tasks of a data set: `tasks[i]` depends on `(seed, i)` alone. Endless: any `i >= 0` is a task.

    Which items a task has is drawn on the CPU, so that it is the same everywhere; they are gathered, and the episode
    lies, where the data set's `x` does.

    Classes are drawn without replacement and stand in random order. Queries and unlabeled items are drawn from what
    the support leaves, and no item appears twice in a task.

    Attributes:
        way, shot, unlabeled: classes, support items per class and extra unlabeled items per class: an int, or an
            inclusive range `(lo, hi)` drawn uniformly per task.
        query: queries per class (int or range), or `Queries`. Where those draw more queries of a class than it has
            items left, the rest come from the task's other classes, drawn from the items that they have left.
        labeled_ratio: share of each class's shots that keep their label, at least one of them; the others become
            unlabeled items. Of several shares one is drawn uniformly per task. The items are the same whatever the
            share.
        distractors: classes outside the task (int or range), each with `unlabeled` items among the unlabeled ones.
        label_noise: each support item is, with this probability, replaced by one of a class outside the task, under the
            same label. The other items of the task stay the same whatever the noise.
        within_groups: all classes of a task come from one group, drawn uniformly among those with enough classes.
        shuffle: nodes stand in random order; otherwise support, unlabeled, query, each class by class. The items
            drawn are the same.

    Raises:
        ValueError: a number out of range, more ways (and distractors) than classes, a class with too few items for the
            largest task, `within_groups` without groups, `distractors` without unlabeled items, or `label_noise` where
            a task may take up all classes.
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
        if operator.index(self.seed) < 0:
            raise ValueError(f"seed is {self.seed}; it must be 0 or more")
        _check_ways(self)
        _check_items(self)
        _check_total(self)
        _check_noise(self)
        _check_ratios(self)
        _check_distractors(self)

    def __getitem__(self, index: SupportsIndex) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Task `index`: its episode, and the class index of each query in node order, `[Q]` int64.

        Raises:
            IndexError: a negative index.
        """
        return self.batch((index,))

    def batch(self, indices: Iterable[SupportsIndex]) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Several tasks as one episode, end to end, gathered at once; equal to collating the single ones.

        Raises:
            IndexError: a negative index.
            ValueError: no indices.
        """
        draws = [self.draw(i) for i in indices]
        if not draws:
            raise ValueError("batch got no indices; give at least one")
        items, label, role = (
            np.concatenate([getattr(d, n) for d in draws]) for n in ("items", "label", "role")
        )
        x = self.data.gather(items)
        episode = unchecked_episode(
            x=x,
            y=torch.from_numpy(np.where(role == SUPPORT, label, UNKNOWN)).to(x.device),
            query=torch.from_numpy(role == QUERY).to(x.device),
            sizes=tuple(len(d.items) for d in draws),
            way=tuple(len(d.classes) for d in draws),
            **{
                name: tuple(int(np.count_nonzero(d.role == kind)) for d in draws)
                for name, kind in (("n_queries", QUERY), ("n_unlabeled", UNLABELED))
            },
        )
        return episode, torch.from_numpy(label[role == QUERY]).to(x.device)

    def draw(self, index: SupportsIndex) -> TaskDraw:
        """What task `index` is made of. Raises IndexError where the index is negative."""
        number = operator.index(index)
        if number < 0:
            raise IndexError(
                f"task {number}: tasks are endless and have no last one; indices are 0 or more"
            )
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        shot, unlabeled = self._spans["shot"].draw(rng), self._spans["unlabeled"].draw(rng)
        classes = self._draw_classes(rng)
        given = shot + unlabeled
        queries = fit_queries(
            self._queries.draw(rng, len(classes)), self._sizes[classes] - given, rng
        )
        counts = given + queries
        picked = [
            _pick(rng, self.data.members[c], n)
            for c, n in zip(classes.tolist(), counts.tolist(), strict=True)
        ]
        items = np.concatenate(picked)
        labeled = _kept(shot, self._ratios[IntRange(0, len(self._ratios) - 1).draw(rng)])
        role = _roles(labeled, given - labeled, queries)
        label = np.arange(len(classes)).repeat(counts)
        others = self._distract(rng, classes, unlabeled)
        if len(others):
            items, role, label = (
                np.concatenate(both)
                for both in (
                    (items, others),
                    (role, np.full(len(others), UNLABELED)),
                    (label, np.full(len(others), UNKNOWN)),
                )
            )
        order = rng.permutation(len(items)) if self.shuffle else np.argsort(role, kind="stable")
        if self.label_noise:
            items = self._noisy(rng, items, role, classes)
        return TaskDraw(items[order], label[order], role[order], classes)

    def describe(self) -> dict[str, Any]:
        """What defines these tasks, ready for JSON; a range is `[lo, hi]`."""
        spans: dict[str, Any] = {name: span.to_json() for name, span in self._spans.items()}
        distractors = spans.pop("distractors")
        shares = self._ratios[0] if len(self._ratios) == 1 else list(self._ratios)
        special = {
            "label_noise": (self.label_noise, 0.0),
            "labeled_ratio": (shares, 1.0),
            "distractors": (distractors, 0),
        }
        return {
            "data": self.data.name,
            "split": self.data.split,
            **spans,
            "query": str(self._queries),
            "seed": int(self.seed),
            "within_groups": self.within_groups,
            **{name: value for name, (value, usual) in special.items() if value != usual},
        }

    def _draw_classes(self, rng: np.random.Generator) -> Index:
        way = self._spans["way"].draw(rng)
        pools = self._pools[way]
        pool = pools[IntRange(0, len(pools) - 1).draw(rng)]
        return pool[rng.choice(len(pool), way, replace=False)]

    def _noisy(self, rng: np.random.Generator, items: Index, role: Index, classes: Index) -> Index:
        wrong = np.flatnonzero((role == SUPPORT) & (rng.random(len(items)) < self.label_noise))
        outside = np.flatnonzero(~np.isin(self.data.y.numpy(force=True), classes))
        items = items.copy()
        items[wrong] = rng.choice(outside, len(wrong), replace=False)
        return items

    def _distract(self, rng: np.random.Generator, classes: Index, each: int) -> Index:
        """`each` items of every distractor class, where there are any."""
        count = self._spans["distractors"].draw(rng)
        if count == 0:
            return np.empty(0, dtype=np.int64)
        outside = np.setdiff1d(np.arange(len(self.data.classes)), classes)
        chosen = rng.choice(outside, count, replace=False)
        return np.concatenate([_pick(rng, self.data.members[c], each) for c in chosen.tolist()])

    @cached_property
    def _ratios(self) -> tuple[float, ...]:
        given = self.labeled_ratio
        return tuple(map(float, given)) if isinstance(given, tuple) else (float(given),)

    @cached_property
    def _spans(self) -> Mapping[str, IntRange]:
        return {
            "way": IntRange.of(self.way, name="way", minimum=2),
            "shot": IntRange.of(self.shot, name="shot", minimum=1),
            "unlabeled": IntRange.of(self.unlabeled, name="unlabeled"),
            "distractors": IntRange.of(self.distractors, name="distractors"),
        }

    @cached_property
    def _queries(self) -> QuerySampler:
        return (
            self.query
            if isinstance(self.query, QuerySampler)
            else balanced(IntRange.of(self.query, name="query", minimum=1))
        )

    @cached_property
    def _sizes(self) -> Index:
        return np.array([len(m) for m in self.data.members])

    @cached_property
    def _pools(self) -> Mapping[int, tuple[Index, ...]]:
        """For each way the sets of classes that a task of that way may be drawn from."""
        everything = [np.arange(len(self.data.classes))]
        pools = list(self.data.group_classes.values()) if self.within_groups else everything
        ways = self._spans["way"]
        return {
            way: tuple(p for p in pools if len(p) >= way) for way in range(ways.low, ways.high + 1)
        }


def _pick(rng: np.random.Generator, members: Index, count: int) -> Index:
    # permuting a small class whole is quicker than choosing from it
    if len(members) <= 1000:
        return members[rng.permutation(len(members))[:count]]
    return members[rng.choice(len(members), count, replace=False)]


def _kept(shot: int, ratio: float) -> int:
    """How many of a class's shots keep their label; halves are rounded up."""
    return max(1, int(shot * ratio + 0.5))


def _roles(shot: int, unlabeled: int, queries: Index) -> Index:
    counts = np.empty((len(queries), 3), dtype=np.int64)
    counts[:, SUPPORT], counts[:, UNLABELED], counts[:, QUERY] = shot, unlabeled, queries
    return np.array(ROLES * len(queries)).repeat(counts.ravel())


def _check_ways(tasks: Tasks) -> None:
    data, most = tasks.data, tasks._spans["way"].high
    if tasks.within_groups and not data.groups:
        raise ValueError(f"within_groups is set but {data!r} has no groups; leave it out")
    if tasks._pools[most]:
        return
    if tasks.within_groups:
        name, classes = max(data.group_classes.items(), key=lambda item: len(item[1]))
        raise ValueError(
            f"way is {most} but the largest group, {name!r}, has {len(classes)} classes"
        )
    raise ValueError(f"way is {most} but {data!r} has {len(data.classes)} classes")


def _check_items(tasks: Tasks) -> None:
    shot, unlabeled, query = (
        tasks._spans["shot"].high,
        tasks._spans["unlabeled"].high,
        tasks._queries.max_per_class or 0,
    )
    used = np.unique(np.concatenate(tasks._pools[tasks._spans["way"].low]))
    smallest = int(used[np.argmin(tasks._sizes[used])])
    have, need = int(tasks._sizes[smallest]), shot + query + unlabeled
    if have < need:
        raise ValueError(
            f"class {tasks.data.classes[smallest]!r} has {have} items but a task needs up to {need} of a "
            f"class ({shot} support, {query} query, {unlabeled} unlabeled); ask for fewer"
        )


def _check_total(tasks: Tasks) -> None:
    total, way = tasks._queries.max_total, tasks._spans["way"].low
    if total is None:
        return
    taken = tasks._spans["shot"].high + tasks._spans["unlabeled"].high
    left = (
        min(int(np.sort(tasks._sizes[pool])[:way].sum()) for pool in tasks._pools[way])
        - way * taken
    )
    if left < total:
        raise ValueError(
            f"{tasks._queries} asks for up to {total} queries, but a {way}-way task may have only "
            f"{left} items left beside its support and unlabeled items; ask for fewer"
        )


def _check_noise(tasks: Tasks) -> None:
    if not 0 <= tasks.label_noise < 1:
        raise ValueError(f"label_noise is {tasks.label_noise}; it must be at least 0 and below 1")
    most = tasks._spans["way"].high
    if tasks.label_noise and most >= len(tasks.data.classes):
        raise ValueError(
            f"label_noise takes items of classes outside the task, but a task may have all {most} classes "
            f"of {tasks.data!r}; ask for fewer ways"
        )


def _check_ratios(tasks: Tasks) -> None:
    if not tasks._ratios or not all(0 < ratio <= 1 for ratio in tasks._ratios):
        raise ValueError(
            f"labeled_ratio is {tasks.labeled_ratio}; it must be above 0 and at most 1, or several such"
        )


def _check_distractors(tasks: Tasks) -> None:
    most, way, each = (
        tasks._spans["distractors"].high,
        tasks._spans["way"].high,
        tasks._spans["unlabeled"],
    )
    if most == 0:
        return
    if each.high == 0:
        raise ValueError(
            f"distractors is {tasks.distractors} but unlabeled is 0; distractor classes give as many "
            f"unlabeled items as the task's classes do: ask for unlabeled=1 or more"
        )
    if way + most > len(tasks.data.classes):
        raise ValueError(
            f"a task may have {way} classes and {most} distractor classes, and {tasks.data!r} has "
            f"{len(tasks.data.classes)} classes; ask for fewer"
        )
    smallest = int(np.argmin(tasks._sizes))
    if tasks._sizes[smallest] < each.high:
        raise ValueError(
            f"class {tasks.data.classes[smallest]!r} has {tasks._sizes[smallest]} items but a distractor "
            f"class gives up to {each.high}; ask for fewer"
        )
