"""An annotation in progress: the log, its state, the predictions, and who sees which item."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray

from graphfew.errors import InvalidInputError
from graphfew.labeling.active import ItemGraph, build_item_graph
from graphfew.labeling.annotation.accuracy_estimate import AccuracyEstimate, estimate_accuracy
from graphfew.labeling.annotation.action_checks import check_action
from graphfew.labeling.annotation.actions import (
    Action,
    LabelItems,
    LogEntry,
    RejectItem,
    SkipItem,
    Undo,
)
from graphfew.labeling.annotation.event_log import EventLog
from graphfew.labeling.annotation.item_choice import Choice, choose_grid, choose_item
from graphfew.labeling.annotation.items import AnnotationItems
from graphfew.labeling.annotation.label_graph import (
    LabelGraph,
    find_influences,
    no_scores,
    update_scores,
)
from graphfew.labeling.annotation.leases import Leases
from graphfew.labeling.annotation.predictions import ModelProbs, Predictions
from graphfew.labeling.annotation.session_state import (
    SessionState,
    apply_entry,
    replay,
    start_session,
)

Array = NDArray[Any]
# Items whose influence is computed when a log is continued, for the estimated accuracy.
MAX_INFLUENCES = 256


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far an annotation is.

    Attributes:
        n_items: number of items.
        n_labeled: items with a class.
        n_rejected: items that belong to none of the classes.
        n_skipped: items that were left for later and are still undecided.
        n_conflicts: items with different labels.
        n_checks: labeled items that were drawn at random.
        accuracy: of the predictions for the other items; None if too few items were drawn.
    """

    n_items: int
    n_labeled: int
    n_rejected: int
    n_skipped: int
    n_conflicts: int
    n_checks: int
    accuracy: AccuracyEstimate | None

    @property
    def n_decided(self) -> int:
        """Items with a class, and items that belong to none."""
        return self.n_labeled + self.n_rejected


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything that a page shows, of one moment.

    Attributes:
        items: the items.
        state: the state of the session.
        predictions: for all items.
    """

    items: AnnotationItems
    state: SessionState
    predictions: Predictions

    @cached_property
    def decided(self) -> frozenset[int]:
        """Indices of the items with a class, or known to have none."""
        return frozenset(decided_items(self.items, self.state))

    @cached_property
    def skipped(self) -> frozenset[int]:
        """Indices of undecided items that were skipped."""
        index_of = self.items.index_of
        names = set(self.state.skipped.values()) & index_of.keys()
        return frozenset(index_of[name] for name in names) - self.decided

    @cached_property
    def progress(self) -> Progress:
        """The counts, and the estimated accuracy."""
        index_of, state = self.items.index_of, self.state
        assigned = {name: c for name, c in state.assigned.items() if name in index_of}
        checked = [name for name in assigned if _was_drawn(state, name)]
        labeled_checks = [index_of[name] for name in checked if assigned[name] is not None]
        n_rejected_checks = len(checked) - len(labeled_checks)
        n_rejected = sum(class_id is None for class_id in assigned.values())
        return Progress(
            n_items=len(self.items),
            n_labeled=len(assigned) - n_rejected,
            n_rejected=n_rejected,
            n_skipped=len(self.skipped),
            n_conflicts=len(self.conflicts),
            n_checks=len(checked),
            accuracy=estimate_accuracy(self.predictions.scores, labeled_checks, n_rejected_checks),
        )

    @cached_property
    def conflicts(self) -> tuple[int, ...]:
        """Indices of items with different labels."""
        index_of = self.items.index_of
        return tuple(index_of[name] for name in self.state.conflicts if name in index_of)

    def class_index(self) -> tuple[Array, tuple[int, ...]]:
        """Return the class of each item, `[n]` with -1 if unknown, and the classes' numbers."""
        classes = self.predictions.class_ids
        column = {class_id: index for index, class_id in enumerate(classes)}
        labels = torch.full((len(self.items),), -1)
        for item, class_id in self.predictions.scores.assigned.items():
            labels[item] = column[class_id]
        out: Array = labels.numpy()
        return out, classes


class AnnotationService:
    """Applies actions in order, and chooses what each page shows. Safe for several threads.

    Args:
        items: the items.
        log: the open log, whose entries are applied first.
        graph: of the items; None builds it from their features.
        check_every: every how many-th item is drawn at random; 0 for none.
        on_change: called after each change, without the lock.

    Example:
        >>> import tempfile, numpy as np
        >>> from pathlib import Path
        >>> from graphfew.labeling.annotation.event_log import EventLog, describe_items
        >>> items = AnnotationItems("text", ("0", "1"), ("hi", "bye"), np.eye(2), ("a", None))
        >>> log = EventLog(Path(tempfile.mkdtemp(), "log"), describe_items("", items.keys))
        >>> service = AnnotationService(items, log)
        >>> _ = service.submit("me", LabelItems(("1",), "b"))
        >>> service.snapshot().state.labels
        {'0': 'a', '1': 'b'}
        >>> log.close()
    """

    def __init__(
        self,
        items: AnnotationItems,
        log: EventLog,
        graph: ItemGraph | None = None,
        check_every: int = 5,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.items = items
        self.on_change = on_change
        self._log = log
        self.item_graph = graph or build_item_graph(torch.as_tensor(items.features).float())
        self._graph = LabelGraph(self.item_graph.topology, self.item_graph.weights)
        self._check_every = check_every
        self._lock = threading.RLock()
        self._leases = Leases()
        self._queue: tuple[int, ...] = ()
        state = replay(start_session(items.keys, items.labels), log.entries)
        scores = update_scores(self._graph, no_scores(len(items)), _assigned(items, state))
        recent = list(scores.assigned)[-MAX_INFLUENCES:]
        influences = find_influences(self._graph, recent)
        scores = dataclasses.replace(scores, influences=influences)
        self._snapshot = Snapshot(items, state, Predictions(scores, None, _excluded(items, state)))

    def snapshot(self) -> Snapshot:
        """Return the current state and predictions, which never change."""
        return self._snapshot

    def submit(self, annotator: str, action: Action) -> LogEntry:
        """Check an action, write it to the log, and update the predictions.

        Args:
            annotator: id of the page that sends it.
            action: the action.

        Returns:
            The entry of the log, which is on disk.

        Raises:
            InvalidInputError: the action does not fit the state.
            WriteError: the log cannot be written; nothing has changed.
        """
        with self._lock:
            before = self._snapshot
            check_action(before.state, action, self.items.index_of)
            entry = self._log.append(annotator, action)
            state = apply_entry(before.state, entry)
            scores = update_scores(
                self._graph, before.predictions.scores, _assigned(self.items, state)
            )
            predictions = Predictions(
                scores, before.predictions.model, _excluded(self.items, state)
            )
            self._snapshot = Snapshot(self.items, state, predictions)
            if isinstance(action, LabelItems | RejectItem):
                self._leases.release(annotator)
        self.on_change()
        return entry

    def undo(self, annotator: str) -> LogEntry:
        """Undo the annotator's last action.

        Args:
            annotator: id of the page.

        Returns:
            The entry that was undone.

        Raises:
            InvalidInputError: nothing was done, or it cannot be undone.
        """
        with self._lock:
            last = self._snapshot.state.last_entry_of(annotator)
            if last is None:
                raise InvalidInputError(
                    "there is nothing to undo on this page; change earlier labels under Review"
                )
            self.submit(annotator, Undo(last.number))
            # The page shows the item again.
            was_check = isinstance(last.action, LabelItems | RejectItem) and last.action.is_check
            items = _single_item(self.items, last.action)
            self._leases.take(items, annotator, is_check=was_check)
        return last

    def next_item(self, annotator: str) -> Choice | None:
        """Choose the item that a page shows, and lease it.

        Args:
            annotator: id of the page.

        Returns:
            The item; None if all are decided, or shown on other pages.
        """
        with self._lock:
            snapshot, leases = self._snapshot, self._leases
            for item, lease in leases.of(annotator).items():
                is_shown = not lease.on_grid and item not in snapshot.skipped
                if is_shown and item not in snapshot.decided:
                    leases.take([item], annotator, is_check=lease.is_check)
                    return Choice(item, lease.is_check)
            choice = choose_item(
                snapshot.predictions,
                is_open=lambda item: (
                    item not in snapshot.decided and leases.is_free(item, annotator)
                ),
                skipped=snapshot.skipped,
                queue=self._queue,
                turn=snapshot.state.last_number,
                check_every=self._check_every,
            )
            leases.take(
                [choice.item] if choice else [],
                annotator,
                is_check=bool(choice and choice.is_check),
            )
            return choice

    def is_check(self, annotator: str, item: int) -> bool:
        """Return whether an item was drawn at random for this page."""
        with self._lock:
            lease = self._leases.of(annotator).get(item)
        return lease is not None and lease.is_check

    def take(self, annotator: str, item: int) -> None:
        """Lease an item that the annotator chose."""
        with self._lock:
            self._leases.take([item], annotator)

    def next_grid(self, annotator: str, class_id: int, n_items: int) -> list[int]:
        """Choose undecided items that are predicted as one class, and lease them.

        Args:
            annotator: id of the page.
            class_id: number of the class.
            n_items: the largest number of items.

        Returns:
            Indices of items, the most confident first.
        """
        with self._lock:
            snapshot, leases = self._snapshot, self._leases
            grid = choose_grid(
                snapshot.predictions,
                class_id,
                n_items,
                is_open=lambda item: (
                    item not in snapshot.decided and leases.is_free(item, annotator)
                ),
            )
            leases.take(grid, annotator, on_grid=True)
            return grid

    def set_queue(self, queue: Sequence[int]) -> None:
        """Set the items to show next, as a slower strategy suggests them."""
        with self._lock:
            self._queue = tuple(queue)

    def set_model(self, model: ModelProbs) -> None:
        """Set the probabilities of a slower model."""
        with self._lock:
            predictions = dataclasses.replace(self._snapshot.predictions, model=model)
            self._snapshot = dataclasses.replace(self._snapshot, predictions=predictions)


def decided_items(items: AnnotationItems, state: SessionState) -> list[int]:
    """Return the indices of items with a class, or known to have none."""
    return [items.index_of[name] for name in state.history if name in items.index_of]


def _single_item(items: AnnotationItems, action: Action) -> list[int]:
    match action:
        case LabelItems(items=(name,), rejected=()) | RejectItem(item=name) | SkipItem(item=name):
            return [items.index_of[name]] if name in items.index_of else []
    return []


def _was_drawn(state: SessionState, name: str) -> bool:
    return any(mark.is_check for mark in state.history[name])


def _assigned(items: AnnotationItems, state: SessionState) -> dict[int, int]:
    """Class number of each item with a class, by its index."""
    return {
        items.index_of[name]: class_id
        for name, class_id in state.assigned.items()
        if class_id is not None and name in items.index_of
    }


def _excluded(items: AnnotationItems, state: SessionState) -> tuple[tuple[int, int], ...]:
    pairs = state.not_of_class
    return tuple((items.index_of[name], c) for name, c in pairs if name in items.index_of)
