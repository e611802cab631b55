"""What the pages show, computed from a snapshot."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch

from graphfew.labeling.annotation.actions import (
    AddClass,
    LabelItems,
    LogEntry,
    MergeClass,
    RejectItem,
    RenameClass,
    SkipItem,
)
from graphfew.labeling.annotation.service import Snapshot

N_LIKELY = 9
N_RECENT = 40
MAX_TEXT = 20_000


@dataclasses.dataclass(frozen=True)
class ItemView:
    """An item as a page shows it.

    Attributes:
        index: its index.
        name: its name.
        text: its text, or "" for images and features.
        is_image: whether it has an image.
    """

    index: int
    name: str
    text: str
    is_image: bool


@dataclasses.dataclass(frozen=True)
class ClassView:
    """A class as a page shows it.

    Attributes:
        class_id: its number, which also chooses the color.
        name: its name.
        percent: its probability for an item, or None.
        n_labeled: number of labeled items.
        n_predicted: number of other items that are predicted as this class.
    """

    class_id: int
    name: str
    percent: float | None = None
    n_labeled: int = 0
    n_predicted: int = 0


@dataclasses.dataclass(frozen=True)
class Decision:
    """One judgment about an item.

    Attributes:
        annotator: who made it.
        label: the class, or None.
    """

    annotator: str
    label: str | None


def item_view(snapshot: Snapshot, index: int) -> ItemView:
    """Return what a page shows of an item.

    Args:
        snapshot: the current state.
        index: index of the item.

    Returns:
        The view.
    """
    items = snapshot.items
    text = str(items.contents[index])[:MAX_TEXT] if items.kind == "text" else ""
    return ItemView(index, items.names[index], text, items.kind == "image")


def likely_classes(snapshot: Snapshot, index: int, n: int = N_LIKELY) -> list[ClassView]:
    """Return the most probable classes of an item, then classes without any label.

    Args:
        snapshot: the current state.
        index: index of the item.
        n: the largest number of classes.

    Returns:
        The classes.
    """
    names = snapshot.state.class_names
    likely = snapshot.predictions.likely(index, n)
    views = [ClassView(class_id, names[class_id], 100 * p) for class_id, p in likely]
    known = set(snapshot.predictions.class_ids)
    empty = [class_id for class_id in snapshot.state.class_ids if class_id not in known]
    views += [ClassView(class_id, names[class_id]) for class_id in empty]
    return views[:n]


def class_views(snapshot: Snapshot) -> list[ClassView]:
    """Return all classes with their numbers of items, by name.

    Args:
        snapshot: the current state.

    Returns:
        The classes.
    """
    state, predictions = snapshot.state, snapshot.predictions
    n_labeled = Counter(predictions.scores.assigned.values())
    n_predicted: Counter[int] = Counter()
    if predictions.class_ids:
        columns = predictions.top[1].bincount(minlength=len(predictions.class_ids)).tolist()
        n_predicted.update(dict(zip(predictions.class_ids, columns, strict=True)))
        n_predicted.subtract(n_labeled)
    views = [
        ClassView(c, state.class_names[c], None, n_labeled[c], max(0, n_predicted[c]))
        for c in state.class_ids
    ]
    return sorted(views, key=lambda view: (view.name.casefold(), view.name))


def class_certainty(snapshot: Snapshot) -> dict[int, float]:
    """Return how much there is to confirm in each class.

    Args:
        snapshot: the current state.

    Returns:
        The sum of the squared probabilities of undecided items, by the number of their most
        probable class: many certain items are better than more uncertain ones.
    """
    predictions = snapshot.predictions
    if not predictions.class_ids:
        return {}
    confidence, column = predictions.top
    squared = confidence.square()
    squared[list(snapshot.decided)] = 0
    sums = torch.zeros(len(predictions.class_ids)).index_add_(0, column, squared)
    return dict(zip(predictions.class_ids, sums.tolist(), strict=True))


def decisions(snapshot: Snapshot, index: int) -> list[Decision]:
    """Return the judgments about an item that apply; several if they are in conflict.

    Args:
        snapshot: the current state.
        index: index of the item.

    Returns:
        The judgments, oldest first.
    """
    state = snapshot.state
    marks = state.marks.get(snapshot.items.keys[index], ())
    return [
        Decision(
            mark.annotator,
            None if mark.class_id is None else state.class_names[state.resolve(mark.class_id)],
        )
        for mark in marks
    ]


def recent_entries(snapshot: Snapshot, n: int = N_RECENT) -> list[dict[str, Any]]:
    """Return the last entries of the log that are not undone, newest first.

    Args:
        snapshot: the current state.
        n: the largest number of entries.

    Returns:
        Each with `time`, `annotator`, `text`, `index` of its item or None, and `caption`: the text
        of that item.
    """
    entries = list(snapshot.state.entries.values())[-n:]
    return [
        {
            "caption": _text_of(snapshot, _first_item(snapshot, entry)),
            "time": entry.time,
            "annotator": entry.annotator,
            "text": describe(entry, snapshot.items.name_of),
            "index": _first_item(snapshot, entry),
        }
        for entry in reversed(entries)
    ]


def describe(entry: LogEntry, name_of: Callable[[str], str] = lambda key: key) -> str:
    """Describe an entry in a few words.

    Args:
        entry: the entry.
        name_of: returns the name of an item with a key.

    Returns:
        The text.

    Example:
        >>> describe(LogEntry(1, "", "me", LabelItems(("a.png",), "cat")))
        'a.png: cat'
    """
    match entry.action:
        case LabelItems(items=(item,), label=label, rejected=()):
            return f"{name_of(item)}: {label}"
        case LabelItems(items=items, label=label, rejected=rejected):
            wrong = f", {len(rejected)} are not" if rejected else ""
            return f"{len(items)} items: {label}{wrong}"
        case RejectItem(item=item):
            return f"{name_of(item)}: none of these"
        case SkipItem(item=item):
            return f"{name_of(item)}: skipped"
        case AddClass(name=name):
            return f"new class {name}"
        case RenameClass(name=name, new_name=new_name):
            return f"class {name} renamed to {new_name}"
        case MergeClass(name=name, into=into):
            return f"class {name} merged into {into}"
    return "undone"


def map_data(snapshot: Snapshot, positions: Iterable[Iterable[float]]) -> dict[str, Any]:
    """Return what the map draws, for JSON.

    Args:
        snapshot: the current state.
        positions: `[n, 2]`, each in `[0, 1]`.

    Returns:
        Positions, class numbers and roles of all items, and the names of classes and items.
    """
    predictions = snapshot.predictions
    assigned = predictions.scores.assigned
    n_items = len(snapshot.items)
    class_of = [-1] * n_items
    confidence = [0.0] * n_items
    if predictions.class_ids:
        values, columns = predictions.top
        class_of = [predictions.class_ids[column] for column in columns.tolist()]
        confidence = [round(value, 2) for value in values.tolist()]
    rejected = snapshot.decided - assigned.keys()
    for item in rejected:
        class_of[item] = -1
    captions = [_caption(snapshot, item) for item in range(n_items)]
    return {
        "positions": [[round(float(value), 4) for value in point] for point in positions],
        "classOf": class_of,
        "confidence": confidence,
        "labeled": sorted(assigned),
        "captions": captions,
        "classes": {str(c): snapshot.state.class_names[c] for c in snapshot.state.class_ids},
    }


def _text_of(snapshot: Snapshot, index: int | None) -> str:
    if index is None or snapshot.items.kind != "text":
        return ""
    return str(snapshot.items.contents[index])[:120]


def _caption(snapshot: Snapshot, item: int) -> str:
    items = snapshot.items
    return str(items.contents[item])[:80] if items.kind == "text" else items.names[item]


def _first_item(snapshot: Snapshot, entry: LogEntry) -> int | None:
    action = entry.action
    if isinstance(action, LabelItems):
        keys = action.items[:1] or action.rejected[:1]
        return snapshot.items.index_of.get(keys[0]) if keys else None
    if isinstance(action, RejectItem | SkipItem):
        return snapshot.items.index_of.get(action.item)
    return None
