"""Slow work between labels: which items to label next, and the probabilities of the ensemble."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphfew.labeling.active import ItemGraph, predict_by_ensemble, suggest_from_graph
from graphfew.labeling.annotation.predictions import ModelProbs
from graphfew.labeling.annotation.service import AnnotationService, Snapshot

QUEUE_LENGTH = 24
# The ensemble is fitted again after this many new labels, or this fraction of the labels.
MIN_NEW_LABELS = 5
NEW_FRACTION = 0.1


def refine_queue(service: AnnotationService) -> Callable[[], None]:
    """Return a task that suggests the items to label next.

    Args:
        service: receives the suggestions.

    Returns:
        The task, see `BackgroundTasks`.
    """

    def task() -> None:
        service.set_queue(suggest_items(service.item_graph, service.snapshot()))

    return task


def suggest_items(graph: ItemGraph, snapshot: Snapshot, n: int = QUEUE_LENGTH) -> list[int]:
    """Suggest items by the recommended strategy, with the current predictions.

    Args:
        graph: of the items.
        snapshot: the labels so far.
        n: number of items.

    Returns:
        Indices of items, best first.
    """
    labels, _ = snapshot.class_index()
    is_excluded = torch.zeros(len(labels), dtype=torch.bool)
    is_excluded[list(snapshot.decided | snapshot.skipped)] = True
    if bool(is_excluded.all()):
        return []

    def predict(graph: ItemGraph, class_index: Tensor, n_classes: int) -> Tensor:
        # The classes are numbered in the order of their columns, and all of them have labels.
        del graph, class_index, n_classes
        return snapshot.predictions.probs

    suggested = suggest_from_graph(
        graph,
        torch.from_numpy(labels),
        n,
        seed=snapshot.state.last_number,
        is_excluded=is_excluded,
        predict=predict,
    )
    return [int(item) for item in suggested]


def refine_model(service: AnnotationService) -> Callable[[], None]:
    """Return a task that fits the ensemble again when there are enough new labels.

    Args:
        service: receives the probabilities.

    Returns:
        The task, see `BackgroundTasks`.
    """

    def task() -> None:
        snapshot = service.snapshot()
        labels, class_ids = snapshot.class_index()
        n_labels = int((labels >= 0).sum())
        previous = snapshot.predictions.model
        n_before = previous.n_labels if previous else 0
        n_needed = max(MIN_NEW_LABELS, NEW_FRACTION * n_before)
        if len(class_ids) < 2 or abs(n_labels - n_before) < n_needed:
            return
        probs = predict_by_ensemble(service.item_graph, torch.from_numpy(labels), len(class_ids))
        service.set_model(ModelProbs(class_ids, probs, n_labels))

    return task
