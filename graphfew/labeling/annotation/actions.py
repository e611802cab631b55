"""What an annotator does, as records that are appended to a log.

Classes are written by the name that they have at that time, items by their key (`row_keys`, or their
name in the source).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from graphfew.errors import DatasetError


@dataclasses.dataclass(frozen=True)
class LabelItems:
    """Give items a label.

    Attributes:
        items: keys of the items.
        label: the class; a new name adds the class.
        seen: number of the last entry of the log that the annotator had seen of these items. A
            later entry of somebody else is therefore a conflict, not a correction.
        rejected: keys of items that are not of this class; their class stays unknown.
        is_check: the item was drawn at random, to estimate the accuracy.
    """

    items: tuple[str, ...]
    label: str
    seen: int = 0
    rejected: tuple[str, ...] = ()
    is_check: bool = False


@dataclasses.dataclass(frozen=True)
class RejectItem:
    """Decide that an item belongs to none of the classes.

    Attributes:
        item: key of the item.
        seen: as in `LabelItems`.
        is_check: as in `LabelItems`.
    """

    item: str
    seen: int = 0
    is_check: bool = False


@dataclasses.dataclass(frozen=True)
class SkipItem:
    """Leave an item for later."""

    item: str


@dataclasses.dataclass(frozen=True)
class AddClass:
    """Add a class without items."""

    name: str


@dataclasses.dataclass(frozen=True)
class RenameClass:
    """Give a class another name, which no other class has."""

    name: str
    new_name: str


@dataclasses.dataclass(frozen=True)
class MergeClass:
    """Move all items of a class to another class."""

    name: str
    into: str


@dataclasses.dataclass(frozen=True)
class Undo:
    """Remove the effect of an earlier entry.

    Attributes:
        target: number of that entry.
    """

    target: int


Action = LabelItems | RejectItem | SkipItem | AddClass | RenameClass | MergeClass | Undo
ACTION_TYPES: Mapping[str, type[Action]] = {
    "label": LabelItems,
    "reject": RejectItem,
    "skip": SkipItem,
    "add_class": AddClass,
    "rename_class": RenameClass,
    "merge_class": MergeClass,
    "undo": Undo,
}
_NAMES = {action: name for name, action in ACTION_TYPES.items()}
# Types of the fields by their annotation, which is text.
_FIELD_TYPES: Mapping[str, type] = {"int": int, "bool": bool, "str": str, "tuple[str, ...]": list}


@dataclasses.dataclass(frozen=True)
class LogEntry:
    """An action with its number, time and author.

    Attributes:
        number: counts from 1.
        time: in UTC, such as `2026-01-31T12:00:00Z`.
        annotator: id of the page that sent it.
        action: what was done.

    Example:
        >>> entry = LogEntry(1, "2026-01-31T12:00:00Z", "a1", SkipItem("7"))
        >>> parse_entry(format_entry(entry)) == entry
        True
    """

    number: int
    time: str
    annotator: str
    action: Action


def format_entry(entry: LogEntry) -> str:
    """Format an entry as one line of JSON, without a line break.

    Args:
        entry: the entry.

    Returns:
        The text.
    """
    content = {
        "number": entry.number,
        "time": entry.time,
        "annotator": entry.annotator,
        "action": _NAMES[type(entry.action)],
        **dataclasses.asdict(entry.action),
    }
    return json.dumps(content, ensure_ascii=False)


def parse_entry(line: str) -> LogEntry:
    """Parse what `format_entry` returns.

    Args:
        line: the text.

    Returns:
        The entry.

    Raises:
        DatasetError: the line is not such an entry.
    """
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise DatasetError("it is not a JSON object")
    action_type = ACTION_TYPES.get(str(content.get("action")))
    if action_type is None:
        raise DatasetError(
            f"its action is {content.get('action')!r}; expected one of {', '.join(ACTION_TYPES)}"
        )
    values: dict[str, Any] = {}
    for field in dataclasses.fields(action_type):
        value = _field(content, field.name, _FIELD_TYPES[str(field.type)])
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return LogEntry(
        number=_field(content, "number", int),
        time=_field(content, "time", str),
        annotator=_field(content, "annotator", str),
        action=action_type(**values),
    )


def _field(content: Mapping[str, Any], name: str, expected: type) -> Any:
    value = content.get(name)
    # `type` instead of isinstance: True is an int.
    is_valid = type(value) is expected
    if is_valid and isinstance(value, list):
        is_valid = all(isinstance(item, str) for item in value)
    if not is_valid:
        raise DatasetError(f"its {name} is {value!r}, which is not of type {expected.__name__}")
    return value
