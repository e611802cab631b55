"""Checks that reject an episode that a method cannot process, before any computation."""

from __future__ import annotations

import math

import torch

from graphfew.core.episode import Episode
from graphfew.errors import InvalidInputError
from graphfew.nn.method import Check


def require_labeled(name: str) -> Check:
    """Return a check that rejects unlabeled nodes, for a method that does not use them."""

    def check(episode: Episode) -> None:
        for task, n_unlabeled in enumerate(episode.n_unlabeled):
            if n_unlabeled:
                raise InvalidInputError(
                    f"{name} got {n_unlabeled} unlabeled nodes in task {task} and cannot use them; "
                    f"sample tasks with unlabeled=0, or use a method that can (egnn, gnn)"
                )

    return check


def require_way(name: str, way: int) -> Check:
    """Return a check that rejects tasks with another number of classes than `way`."""

    def check(episode: Episode) -> None:
        other_ways = sorted({w for w in episode.way if w != way})
        if other_ways:
            raise InvalidInputError(
                f"{name} was built for {way}-way tasks and got a {other_ways[0]}-way task; it has "
                f"weights for each class: build and train it with way={other_ways[0]}, or use egnn"
            )

    return check


def require_shot(name: str, shot: int) -> Check:
    """Return a check that rejects tasks with a class that has another number of supports."""

    def check(episode: Episode) -> None:
        support = torch.nonzero(episode.labeled).flatten()
        max_way = max(episode.way)
        task_class = episode.task[support] * max_way + episode.y[support]
        shots = torch.bincount(task_class, minlength=episode.n_tasks * max_way).view(-1, max_way)
        # Tasks with fewer classes than `max_way` have zeros.
        is_wrong = (shots > 0) & (shots != shot)
        if bool(is_wrong.any()):
            task, label = (int(index) for index in torch.nonzero(is_wrong)[0])
            n_supports = int(shots[task, label])
            raise InvalidInputError(
                f"{name} was built for {shot}-shot tasks and class {label} of task {task} has "
                f"{n_supports} supports; it has weights for each support: build and train it with "
                f"shot={n_supports}, or use egnn"
            )

    return check


def combine_checks(*checks: Check) -> Check:
    """Return a check that runs the given checks in order."""

    def check(episode: Episode) -> None:
        for each in checks:
            each(episode)

    return check


def require_fraction(**values: float) -> None:
    """Reject arguments of a factory that are not in `[0, 1)`, given by name."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise InvalidInputError(f"{name} must be at least 0 and below 1, got {value}")


def require_positive(**values: float) -> None:
    """Reject arguments of a factory that are not positive and finite, given by name."""
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise InvalidInputError(f"{name} must be positive and finite, got {value}")


def require_nonnegative(**values: int | float) -> None:
    """Reject arguments of a factory that are negative or not finite, given by name."""
    for name, value in values.items():
        if not (value >= 0 and math.isfinite(value)):
            raise InvalidInputError(f"{name} must be at least 0 and finite, got {value}")
