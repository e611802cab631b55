"""The state of an annotation, a pure function of the entries of its log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

from graphfew.labeling.annotation.actions import (
    AddClass,
    LabelItems,
    LogEntry,
    MergeClass,
    RejectItem,
    RenameClass,
    SkipItem,
    Undo,
)

SOURCE = "source"


@dataclasses.dataclass(frozen=True)
class Mark:
    """One judgment about one item.

    Attributes:
        number: of the log entry; 0 for labels of the source.
        annotator: who made it; "source" for labels of the source.
        class_id: the class; None if the item belongs to none.
        seen: number of the last entry that the annotator had seen.
        is_check: the item was drawn at random.
    """

    number: int
    annotator: str
    class_id: int | None
    seen: int
    is_check: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class SessionState:
    """Labels, classes and history of an annotation.

    Classes are numbered in the order of their first appearance; the numbers never change.

    Attributes:
        history: all judgments of each item that are not undone, oldest first.
        excluded: pairs of item and class of "is not of this class", by entry number.
        skipped: skipped item by entry number.
        added: class number by entry number of `AddClass`.
        names: `(entry number, class number, name)` of each naming, oldest first.
        merges: `(entry number, class number, class number it became)`, oldest first.
        entries: the entries that are not undone, by number.
        last_number: number of the last entry.

    Example:
        >>> from graphfew.labeling.annotation.actions import LabelItems, LogEntry
        >>> state = start_session(["a", "b"], [None, "dog"])
        >>> state = apply_entry(state, LogEntry(1, "", "me", LabelItems(("a",), "cat")))
        >>> state.labels, state.classes
        ({'b': 'dog', 'a': 'cat'}, ('dog', 'cat'))
    """

    history: Mapping[str, tuple[Mark, ...]]
    excluded: Mapping[int, tuple[tuple[str, int], ...]]
    skipped: Mapping[int, str]
    added: Mapping[int, int]
    names: tuple[tuple[int, int, str], ...]
    merges: tuple[tuple[int, int, int], ...]
    entries: Mapping[int, LogEntry]
    last_number: int

    @cached_property
    def class_names(self) -> Mapping[int, str]:
        """Current name of each class number, also of merged and empty classes."""
        return {class_id: name for _, class_id, name in self.names}

    @cached_property
    def _merged_into(self) -> Mapping[int, int]:
        return {source: target for _, source, target in self.merges}

    def resolve(self, class_id: int) -> int:
        """Return the class that a class was merged into, or the class itself."""
        visited = set()
        while class_id in self._merged_into and class_id not in visited:
            visited.add(class_id)
            class_id = self._merged_into[class_id]
        return class_id

    @cached_property
    def marks(self) -> Mapping[str, tuple[Mark, ...]]:
        """The judgments of each item that apply, oldest first.

        There are several only if annotators did not see each other's.
        """
        return {item: _applicable(marks) for item, marks in self.history.items()}

    @cached_property
    def assigned(self) -> Mapping[str, int | None]:
        """Class number of each decided item; None if it belongs to no class.

        An item with a conflict has its first label.
        """
        return {
            item: None if marks[0].class_id is None else self.resolve(marks[0].class_id)
            for item, marks in self.marks.items()
        }

    @cached_property
    def labels(self) -> dict[str, str]:
        """Class name of each item with a class."""
        names = self.class_names
        return {item: names[c] for item, c in self.assigned.items() if c is not None}

    @cached_property
    def class_ids(self) -> tuple[int, ...]:
        """Numbers of the classes that have items or were added, without merged ones."""
        used = {c for c in self.assigned.values() if c is not None}
        used |= {self.resolve(class_id) for class_id in self.added.values()}
        return tuple(sorted(used))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `class_ids`."""
        return tuple(self.class_names[class_id] for class_id in self.class_ids)

    def find_class(self, name: str) -> int | None:
        """Return the number of the class with this name, or None."""
        for class_id in self.class_ids:
            if self.class_names[class_id] == name:
                return class_id
        return None

    @cached_property
    def conflicts(self) -> tuple[str, ...]:
        """Items to which annotators gave different labels."""
        found = []
        for item, marks in self.marks.items():
            decisions = {
                m.class_id if m.class_id is None else self.resolve(m.class_id) for m in marks
            }
            if len(decisions) > 1:
                found.append(item)
        return tuple(found)

    @cached_property
    def not_of_class(self) -> frozenset[tuple[str, int]]:
        """Pairs of an item and a class that it does not belong to."""
        pairs = (pair for pairs in self.excluded.values() for pair in pairs)
        return frozenset((item, self.resolve(class_id)) for item, class_id in pairs)

    def last_entry_of(self, annotator: str) -> LogEntry | None:
        """Return the annotator's last entry that is not undone."""
        own = (
            entry for entry in reversed(list(self.entries.values())) if entry.annotator == annotator
        )
        return next(own, None)


def start_session(names: Iterable[str], labels: Iterable[str | None]) -> SessionState:
    """Return the state before the first entry.

    Args:
        names: names of the items.
        labels: their labels in the source, None if unknown.

    Returns:
        The state.
    """
    draft = _Draft()
    for name, label in zip(names, labels, strict=True):
        if label is not None:
            draft.history[name] = (Mark(0, SOURCE, draft.class_of(label, 0), 0),)
    return draft.freeze()


def apply_entry(state: SessionState, entry: LogEntry) -> SessionState:
    """Return the state after one more entry.

    Args:
        state: the state before it.
        entry: the entry; its number must be larger than all before.

    Returns:
        The new state.
    """
    return replay(state, (entry,))


def replay(state: SessionState, entries: Iterable[LogEntry]) -> SessionState:
    """Return the state after several entries.

    Args:
        state: the state before them.
        entries: the entries in their order.

    Returns:
        The new state.
    """
    draft = _Draft(state)
    for entry in entries:
        draft.apply(entry)
    return draft.freeze()


def _applicable(history: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """The judgments that no later one replaces: replacing needs to have seen the last one."""
    current: tuple[Mark, ...] = ()
    for mark in history:
        is_informed = (
            not current
            or mark.seen >= current[-1].number
            or mark.annotator == current[-1].annotator
        )
        current = (mark,) if is_informed else (*current, mark)
    return current


class _Draft:
    """Mutable copy of a state: thousands of entries are applied without a copy for each."""

    def __init__(self, state: SessionState | None = None) -> None:
        self.history = dict(state.history) if state else {}
        self.excluded = dict(state.excluded) if state else {}
        self.skipped = dict(state.skipped) if state else {}
        self.added = dict(state.added) if state else {}
        self.names = list(state.names) if state else []
        self.merges = list(state.merges) if state else []
        self.entries = dict(state.entries) if state else {}
        self.last_number = state.last_number if state else 0
        self._index_names()

    def freeze(self) -> SessionState:
        return SessionState(
            history=MappingProxyType(self.history),
            excluded=MappingProxyType(self.excluded),
            skipped=MappingProxyType(self.skipped),
            added=MappingProxyType(self.added),
            names=tuple(self.names),
            merges=tuple(self.merges),
            entries=MappingProxyType(self.entries),
            last_number=self.last_number,
        )

    def apply(self, entry: LogEntry) -> None:
        self.last_number = entry.number
        action = entry.action
        if isinstance(action, Undo):
            undone = self.entries.pop(action.target, None)
            if undone is not None:
                self._undo(undone)
            return
        self.entries[entry.number] = entry
        match action:
            case LabelItems():
                self._label(entry, action)
            case RejectItem():
                self._add_mark(entry, action.item, None, action.seen, action.is_check)
            case SkipItem():
                self.skipped[entry.number] = action.item
            case AddClass():
                self.added[entry.number] = self.class_of(action.name, entry.number)
            case RenameClass():
                self._rename(entry.number, action)
            case MergeClass():
                source = self.class_of(action.name, entry.number)
                target = self.class_of(action.into, entry.number)
                self.merges.append((entry.number, source, target))
                self._index_names()

    def class_of(self, name: str, number: int) -> int:
        """The class with this name, which is added if it is new."""
        class_id = self._id_of_name.get(name)
        if class_id is None:
            class_id = self._id_of_name[name] = 1 + max((c for _, c, _ in self.names), default=-1)
            self.names.append((number, class_id, name))
        return class_id

    def _rename(self, number: int, action: RenameClass) -> None:
        class_id = self.class_of(action.name, number)
        other = self._id_of_name.get(action.new_name, class_id)
        if other == class_id:
            self.names.append((number, class_id, action.new_name))
        else:
            # The source got a class of the new name after the renaming.
            self.merges.append((number, class_id, other))
        self._index_names()

    def _label(self, entry: LogEntry, action: LabelItems) -> None:
        class_id = self.class_of(action.label, entry.number)
        for item in action.items:
            self._add_mark(entry, item, class_id, action.seen, action.is_check)
        if action.rejected:
            self.excluded[entry.number] = tuple((item, class_id) for item in action.rejected)

    def _add_mark(
        self, entry: LogEntry, item: str, class_id: int | None, seen: int, is_check: bool
    ) -> None:
        mark = Mark(entry.number, entry.annotator, class_id, seen, is_check)
        self.history[item] = (*self.history.get(item, ()), mark)

    def _undo(self, entry: LogEntry) -> None:
        match entry.action:
            case LabelItems(items=items):
                self._remove_marks(entry.number, items)
                self.excluded.pop(entry.number, None)
            case RejectItem(item=item):
                self._remove_marks(entry.number, (item,))
            case SkipItem():
                del self.skipped[entry.number]
            case AddClass():
                del self.added[entry.number]
            case RenameClass():
                # The name that the class got when it was added stays; only the new one is removed.
                renamed = (entry.number, entry.action.new_name)
                self.names = [n for n in self.names if (n[0], n[2]) != renamed]
                self._remove_merge(entry.number)
            case MergeClass():
                self._remove_merge(entry.number)
        self._index_names()

    def _remove_merge(self, number: int) -> None:
        self.merges = [merge for merge in self.merges if merge[0] != number]

    def _remove_marks(self, number: int, items: Iterable[str]) -> None:
        for item in items:
            rest = tuple(mark for mark in self.history[item] if mark.number != number)
            if rest:
                self.history[item] = rest
            else:
                del self.history[item]

    def _index_names(self) -> None:
        """Current names of the classes that were not merged; later namings take precedence."""
        merged = {source for _, source, _ in self.merges}
        current = {class_id: name for _, class_id, name in self.names}
        latest = {class_id: position for position, (_, class_id, _) in enumerate(self.names)}
        in_order = sorted(current.keys() - merged, key=latest.__getitem__)
        self._id_of_name = {current[class_id]: class_id for class_id in in_order}
