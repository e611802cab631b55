"""Checks of actions before they are written to the log."""

from __future__ import annotations

from collections.abc import Container

from graphfew.data.label_marks import AMBIGUOUS_MARKS, CLEAR_MARKS
from graphfew.errors import InvalidInputError
from graphfew.labeling.annotation.actions import (
    Action,
    AddClass,
    LabelItems,
    LogEntry,
    MergeClass,
    RejectItem,
    RenameClass,
    SkipItem,
    Undo,
)
from graphfew.labeling.annotation.session_state import SessionState, apply_entry

MAX_NAME_LENGTH = 200
# The non-breaking space, and the joiners that words of Persian and some emoji consist of.
INVISIBLE_LETTERS = "\u00a0\u200c\u200d"


def check_action(state: SessionState, action: Action, items: Container[str]) -> None:
    """Raise for an action that does not fit the state.

    Args:
        state: the state to which it would be applied.
        action: the action.
        items: keys of the items of the source.

    Raises:
        InvalidInputError: an item or class does not exist, a class name is invalid or taken, or
            an entry cannot be undone.

    Example:
        >>> from graphfew.labeling.annotation.session_state import start_session
        >>> check_action(start_session(["a"], [None]), AddClass("cat"), {"a"})
    """
    match action:
        case LabelItems():
            _check_items((*action.items, *action.rejected), items)
            if state.find_class(action.label) is None:
                check_class_name(action.label)
        case RejectItem() | SkipItem():
            _check_items((action.item,), items)
        case AddClass():
            _check_new_name(state, action.name)
        case RenameClass():
            _check_class(state, action.name)
            _check_new_name(state, action.new_name)
        case MergeClass():
            _check_class(state, action.name)
            _check_class(state, action.into)
            if action.name == action.into:
                raise InvalidInputError(
                    f"class {action.name!r} cannot be merged with itself; choose another class"
                )
        case Undo():
            _check_undo(state, action)


def check_class_name(name: str) -> None:
    """Raise InvalidInputError if a class cannot have this name."""
    if not name or name != name.strip():
        raise InvalidInputError("a class needs a name without blanks at its ends; type one")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidInputError(
            f"the class name has {len(name)} characters; give at most {MAX_NAME_LENGTH}"
        )
    hidden = next((c for c in name if not (c.isprintable() or c in INVISIBLE_LETTERS)), None)
    if hidden is not None:
        raise InvalidInputError(
            f"the class name has the invisible character U+{ord(hidden):04X}; type it without it"
        )
    # The exported table would lose these labels when it is read again.
    if name.casefold() in (*CLEAR_MARKS, *AMBIGUOUS_MARKS):
        raise InvalidInputError(
            f"{name!r} marks unlabeled items in tables, so it cannot be a class; choose another name"
        )


def _check_items(names: tuple[str, ...], items: Container[str]) -> None:
    for name in names:
        if name not in items:
            raise InvalidInputError(f"the source has no item {name!r}; reload the page")


def _check_class(state: SessionState, name: str) -> None:
    if state.find_class(name) is None:
        raise InvalidInputError(f"there is no class {name!r}; reload the page")


def _check_new_name(state: SessionState, name: str) -> None:
    check_class_name(name)
    if state.find_class(name) is not None:
        raise InvalidInputError(f"there is a class {name!r} already; choose another name")


def _check_undo(state: SessionState, action: Undo) -> None:
    if action.target not in state.entries:
        raise InvalidInputError("there is nothing to undo")
    # Somebody may have given the name of a renamed or merged class to another one.
    without = apply_entry(state, LogEntry(state.last_number + 1, "", "", action))
    if len(set(without.classes)) < len(without.classes):
        raise InvalidInputError(
            "this cannot be undone, because two classes would have the same name; rename one of "
            "them first"
        )
