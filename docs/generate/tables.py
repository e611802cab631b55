"""The tables of the pages, by the name in their marker `<!-- table: NAME -->`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.generate import (
    active_learning,
    architecture,
    choices,
    encoders,
    methods,
    pitfalls,
    training_options,
    unlabeled_sets,
)

TABLES: Mapping[str, Callable[[], str]] = {
    "methods": methods.index,
    "choices": choices.table,
    "losses": choices.losses,
    "choices-text": choices.text,
    "fewrel": choices.fewrel,
    "encoders-text": encoders.texts,
    "encoders-image": encoders.images,
    "unlabeled": pitfalls.unlabeled,
    "unlabeled-situations": unlabeled_sets.situations,
    "unlabeled-datasets": unlabeled_sets.datasets,
    "active-learning": active_learning.strategies,
    "active-learning-scale": active_learning.scale,
    "architecture": architecture.table,
    "training-options": training_options.table,
    **{f"pitfall-{name}": made for name, made in pitfalls.TABLES.items()},
}
