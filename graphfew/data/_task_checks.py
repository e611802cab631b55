"""Checks of `Tasks` against its data set, so that no draw fails, even of the largest task."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from graphfew.data.int_range import IntRange
from graphfew.data.query_protocols import PoolSampler, QuerySampler
from graphfew.data.query_samplers import QueryMixture
from graphfew.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class TaskRanges:
    """The numbers of a task that may vary, as ranges.

    Attributes:
        way: classes of a task.
        shot: support items per class.
        unlabeled: additional unlabeled items per class.
        distractors: classes outside the task that contribute unlabeled items.
    """

    way: IntRange
    shot: IntRange
    unlabeled: IntRange
    distractors: IntRange


def n_labeled_shots(shot: int, ratio: float) -> int:
    """Return how many shots of a class keep their label: at least one, halves rounded up."""
    return max(1, int(shot * ratio + 0.5))


# `tasks` is a `Tasks`, whose module imports this one.
def check_tasks(tasks: Any) -> None:
    """Raise InvalidInputError if an option is invalid or the largest task does not fit the data."""
    # First, because the other checks need at least one pool of classes for every way.
    _check_way(tasks)
    _check_class_sizes(tasks)
    _check_total_queries(tasks)
    _check_labeled_ratio(tasks)
    _check_distractors(tasks)
    _check_label_noise(tasks)


def _check_way(tasks: Any) -> None:
    data = tasks.data
    largest_way = tasks.ranges.way.high
    if tasks.within_groups and not data.groups:
        raise InvalidInputError(f"within_groups is set but {data!r} has no groups; omit it")
    # A pool that is large enough for the largest way is large enough for every smaller one.
    if tasks.class_pools[largest_way]:
        return
    if tasks.within_groups:
        group, classes = max(data.group_classes.items(), key=lambda item: len(item[1]))
        raise InvalidInputError(
            f"way is {largest_way} but the largest group, {group!r}, has {len(classes)} classes"
        )
    raise InvalidInputError(f"way is {largest_way} but {data!r} has {len(data.classes)} classes")


def _check_class_sizes(tasks: Any) -> None:
    """Check that each class has items for its support, unlabeled items and balanced queries."""
    shot = tasks.ranges.shot.high
    unlabeled = tasks.ranges.unlabeled.high
    # Samplers without a limit per class take missing queries from other classes (`fit_queries`).
    query = tasks.sampler.max_per_class or 0
    # The smallest way has the most pools; their union has every class that a task may have.
    used_classes = np.unique(np.concatenate(tasks.class_pools[tasks.ranges.way.low]))
    smallest = int(used_classes[np.argmin(tasks.class_sizes[used_classes])])
    available = int(tasks.class_sizes[smallest])
    needed = shot + query + unlabeled
    if available < needed:
        raise InvalidInputError(
            f"class {tasks.data.classes[smallest]!r} has {available} items but a task needs up to "
            f"{needed} of a class ({shot} support, {query} query, {unlabeled} unlabeled); use fewer"
        )


def _check_total_queries(tasks: Any) -> None:
    """Check that the classes of a task together have items for all its queries."""
    sampler = tasks.sampler
    for part in sampler.samplers if isinstance(sampler, QueryMixture) else (sampler,):
        if part.max_total is not None:
            _check_query_supply(tasks, part)


def _check_query_supply(tasks: Any, sampler: QuerySampler) -> None:
    """Check that the classes that supply the queries of one sampler have enough items."""
    # The smallest way has the fewest items left, because each class adds its spare items.
    way = tasks.ranges.way.low
    n_classes = way
    supply = f"a {way}-way task"
    if isinstance(sampler, PoolSampler):
        n_classes = min(sampler.min_classes, way)
        supply = f"{n_classes} of the classes of {supply}"
    n_context = n_classes * (tasks.ranges.shot.high + tasks.ranges.unlabeled.high)
    smallest_totals = [
        int(np.sort(tasks.class_sizes[pool])[:n_classes].sum()) for pool in tasks.class_pools[way]
    ]
    available = min(smallest_totals) - n_context
    if available < sampler.max_total:
        raise InvalidInputError(
            f"{sampler} draws up to {sampler.max_total} queries, but {supply} may have only "
            f"{available} items left after its support and unlabeled items; use fewer"
        )


def _check_labeled_ratio(tasks: Any) -> None:
    if not tasks.ratios or not all(0 < ratio <= 1 for ratio in tasks.ratios):
        raise InvalidInputError(
            f"labeled_ratio is {tasks.labeled_ratio}; it must be above 0 and at most 1, or several "
            "such numbers"
        )


def _check_distractors(tasks: Any) -> None:
    """Check that there are enough distractor classes, each with enough unlabeled items."""
    n_distractors = tasks.ranges.distractors.high
    unlabeled = tasks.ranges.unlabeled.high
    way = tasks.ranges.way.high
    if n_distractors == 0:
        return
    if unlabeled == 0:
        raise InvalidInputError(
            f"distractors is {tasks.distractors} but unlabeled is 0; a distractor class "
            "contributes as many unlabeled items as a class of the task: set unlabeled to 1 or more"
        )
    if way + n_distractors > len(tasks.data.classes):
        raise InvalidInputError(
            f"a task may have {way} classes and {n_distractors} distractor classes, but "
            f"{tasks.data!r} has {len(tasks.data.classes)} classes; use fewer"
        )
    smallest = int(np.argmin(tasks.class_sizes))
    if tasks.class_sizes[smallest] < unlabeled:
        raise InvalidInputError(
            f"class {tasks.data.classes[smallest]!r} has {tasks.class_sizes[smallest]} items but a "
            f"distractor class contributes up to {unlabeled}; use fewer"
        )


def _check_label_noise(tasks: Any) -> None:
    """Check that all support items of a task could be replaced by unused items of other classes."""
    if not 0 <= tasks.label_noise < 1:
        raise InvalidInputError(
            f"label_noise is {tasks.label_noise}; it must be at least 0 and below 1"
        )
    if not tasks.label_noise:
        return
    largest_way = tasks.ranges.way.high
    if largest_way >= len(tasks.data.classes):
        raise InvalidInputError(
            "label_noise draws items of classes outside the task, but a task may have all "
            f"{largest_way} classes of {tasks.data!r}; use fewer ways"
        )
    max_support_per_class = max(
        n_labeled_shots(tasks.ranges.shot.high, ratio) for ratio in tasks.ratios
    )
    n_distractor_items = tasks.ranges.distractors.high * tasks.ranges.unlabeled.high
    for way, pools in tasks.class_pools.items():
        needed = way * max_support_per_class
        for pool in pools:
            # The worst case: a task of the largest classes of its pool leaves the fewest items.
            largest_classes = np.sort(tasks.class_sizes[pool])[-way:]
            n_outside = int(tasks.class_sizes.sum() - largest_classes.sum())
            available = n_outside - n_distractor_items
            if available < needed:
                raise InvalidInputError(
                    f"label_noise may replace all {needed} support items of a {way}-way task, but "
                    f"only {available} items are left outside its classes and distractors; use "
                    "fewer ways, shots or distractors"
                )
