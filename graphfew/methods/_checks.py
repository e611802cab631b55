"""Checks that refuse, before any work, an episode that a method is not made for."""

from __future__ import annotations

import torch

from graphfew.core.episode import Episode
from graphfew.nn.method import Check


def require_labeled(name: str) -> Check:
    """A check that refuses unlabeled nodes, which the method `name` has no use for."""

    def check(episode: Episode) -> None:
        if any(episode.n_unlabeled):
            task = next(t for t, n in enumerate(episode.n_unlabeled) if n)
            raise ValueError(
                f"{name} got {episode.n_unlabeled[task]} unlabeled nodes in task {task} and cannot use "
                f"them; draw tasks with unlabeled=0, or use a method that can (egnn, gnn)"
            )

    return check


def require_way(name: str, way: int) -> Check:
    """A check that refuses episodes of another way than the method `name` has weights for."""

    def check(episode: Episode) -> None:
        others = sorted({w for w in episode.way if w != way})
        if others:
            raise ValueError(
                f"the {name} was built for {way}-way tasks and got a {others[0]}-way one; it has "
                f"weights for each class: build and train it with way={others[0]}, or use egnn"
            )

    return check


def require_shot(name: str, shot: int) -> Check:
    """A check that refuses episodes of which a class has another number of supports than `name` has weights for."""

    def check(episode: Episode) -> None:
        support = torch.nonzero(episode.labeled).flatten()
        widest = max(episode.way)
        place = episode.task[support] * widest + episode.y[support]
        shots = torch.bincount(place, minlength=episode.n_tasks * widest).view(-1, widest)
        wrong = (shots > 0) & (shots != shot)
        if bool(wrong.any()):
            task, label = (int(v) for v in torch.nonzero(wrong)[0])
            raise ValueError(
                f"the {name} was built for {shot}-shot tasks and class {label} of task {task} has "
                f"{int(shots[task, label])}; it has weights for each support: build and train it with "
                f"shot={int(shots[task, label])}, or use egnn"
            )

    return check


def combine_checks(*checks: Check) -> Check:
    """One check after the other."""

    def check(episode: Episode) -> None:
        for each in checks:
            each(episode)

    return check
