"""What the report of `graphfew label` shows: counts, and the items to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew.labeling.active import suggest_from_graph
from graphfew.labeling.active.item_graph import ItemGraph, build_item_graph
from graphfew.labeling.label_conflicts import find_label_conflicts
from graphfew.labeling.label_table import LabelTable

Array = NDArray[Any]
N_SHOWN = 24
N_SUGGESTED = 12


@dataclasses.dataclass(frozen=True)
class ClassCount:
    """Number of items of a class.

    Attributes:
        name: of the class.
        n_given: with a given label.
        n_predicted: with a predicted label.
        mean_confidence: of the predicted ones; None without any.
    """

    name: str
    n_given: int
    n_predicted: int
    mean_confidence: float | None

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.n_given + self.n_predicted


@dataclasses.dataclass(frozen=True)
class ReportItem:
    """An item, and what is remarkable about it.

    Attributes:
        row: position of the item.
        name: of the item.
        label: given or predicted label.
        notes: further facts, a line each.
    """

    row: int
    name: str
    label: str
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ReportContent:
    """The content of a report.

    Attributes:
        table: the labels.
        classes: the classes, the largest first.
        n_unknown: number of items below the threshold.
        least_confident: predictions to check.
        unlike_classes: items that are not similar to any class.
        conflicts: labeled items whose neighbors have another class.
        n_conflicts: number of all of them.
        n_checked: number of labels that were compared with the others.
        suggestions: items to label next.
    """

    table: LabelTable
    classes: tuple[ClassCount, ...]
    n_unknown: int
    least_confident: tuple[ReportItem, ...]
    unlike_classes: tuple[ReportItem, ...]
    conflicts: tuple[ReportItem, ...]
    n_conflicts: int
    n_checked: int
    suggestions: tuple[ReportItem, ...]


def report_content(table: LabelTable, features: Array, seed: int = 0) -> ReportContent:
    """Find what a report shows.

    Args:
        table: the labels.
        features: `[n, F]` the encoded items.
        seed: of the suggestions.

    Returns:
        The counts of classes, and the items to look at.

    Example:
        >>> import graphfew as gf
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0]])
        >>> items = gf.labeling.LabelSource(("0", "1", "2"), x, "features", ("cat", "dog", None))
        >>> table = gf.labeling.label_items(items, x, gf.FewShotClassifier())
        >>> [item.name for item in report_content(table, x).least_confident]
        ['2']
    """
    predicted = np.flatnonzero(table.is_predicted)
    by_confidence = predicted[table.confidence[predicted].argsort(kind="stable")]
    graph = _build_graph(features)
    class_index = torch.from_numpy(table.items.class_index)
    conflicts = find_label_conflicts(graph, class_index, seed)
    conflict_items = []
    shown = zip(conflicts.items, conflicts.other_class, conflicts.other_prob, strict=True)
    for row, other, prob in list(shown)[:N_SHOWN]:
        note = f"neighbors: {table.items.classes[other]} {_percent(prob)}"
        conflict_items.append(_item(table, int(row), "given: ", note))
    suggested: Array = np.zeros(0, dtype=np.int64)
    if (class_index < 0).any():
        suggested = suggest_from_graph(graph, class_index, N_SUGGESTED, seed=seed)
    return ReportContent(
        table,
        _count_classes(table),
        int(table.is_unknown.sum()),
        tuple(_predicted_item(table, row) for row in by_confidence[:N_SHOWN].tolist()),
        tuple(_unlike_items(table)),
        tuple(conflict_items),
        len(conflicts.items),
        conflicts.n_checked,
        tuple(_predicted_item(table, row) for row in suggested.tolist()),
    )


def _build_graph(features: Array) -> ItemGraph:
    x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    return build_item_graph(x)


def _count_classes(table: LabelTable) -> tuple[ClassCount, ...]:
    counts = []
    for index, name in enumerate(table.items.classes):
        of_class = table.predicted == index
        predicted = of_class & table.is_predicted
        mean = float(table.confidence[predicted].mean()) if predicted.any() else None
        given = int((of_class & table.is_given).sum())
        counts.append(ClassCount(name, given, int(predicted.sum()), mean))
    return tuple(sorted(counts, key=lambda count: -count.n_items))


def _unlike_items(table: LabelTable) -> Iterable[ReportItem]:
    """Items without a given label, the least similar to their class first."""
    candidates = np.flatnonzero(~table.is_given)
    order = candidates[table.similarity[candidates].argsort(kind="stable")]
    for row in order[:N_SHOWN].tolist():
        note = f"similarity {table.similarity[row]:.2f}"
        yield _item(table, row, "nearest: ", note)


def _predicted_item(table: LabelTable, row: int) -> ReportItem:
    probs = table.probs[row].copy()
    probs[table.predicted[row]] = -1
    second = int(probs.argmax())
    note = f"or {table.items.classes[second]} {_percent(probs[second])}"
    return _item(table, int(row), "", _percent(table.confidence[row]), note)


def _item(table: LabelTable, row: int, prefix: str, *notes: str) -> ReportItem:
    label = table.items.classes[table.predicted[row]]
    return ReportItem(row, table.items.names[row], prefix + label, notes)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
