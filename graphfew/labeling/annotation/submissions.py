"""What the forms of the pages do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphfew.errors import InvalidInputError
from graphfew.labeling.annotation.actions import (
    Action,
    AddClass,
    LabelItems,
    MergeClass,
    RejectItem,
    RenameClass,
    SkipItem,
)
from graphfew.labeling.annotation.forms import field, integer, parse_index
from graphfew.labeling.annotation.service import AnnotationService

Form = Mapping[str, Sequence[str]]


def submit_label(service: AnnotationService, annotator: str, form: Form) -> None:
    """Label, reject or skip the item of a form, or undo the last action.

    Args:
        service: the annotation.
        annotator: id of the page.
        form: `decision`; for "label", "none" and "skip" also `item` and `seen`; for "label"
            `label`.

    Raises:
        InvalidInputError: the form does not fit the annotation.
    """
    decision = field(form, "decision") or "label"
    if decision == "undo":
        service.undo(annotator)
        return
    index = integer(form, "item", len(service.items))
    key = service.items.keys[index]
    seen = _seen(service, form)
    is_check = service.is_check(annotator, index)
    if decision == "label":
        action: Action = LabelItems(
            (key,), _class_name(service, form, "label"), seen, is_check=is_check
        )
    elif decision == "none":
        action = RejectItem(key, seen, is_check)
    elif decision == "skip":
        action = SkipItem(key)
    else:
        raise InvalidInputError(f"the decision is {decision[:20]!r}; reload the page")
    service.submit(annotator, action)


def submit_grid(service: AnnotationService, annotator: str, form: Form) -> None:
    """Label the items of a grid, except those that were marked as wrong.

    Args:
        service: the annotation.
        annotator: id of the page.
        form: `label`, `seen`, the shown items `item`, and the wrong ones `wrong`.

    Raises:
        InvalidInputError: the form does not fit the annotation.
    """
    n_items = len(service.items)
    shown = dict.fromkeys(parse_index(text, "item", n_items) for text in form.get("item", ()))
    wrong = {parse_index(text, "wrong", n_items) for text in form.get("wrong", ())}
    if not shown or not wrong <= shown.keys():
        raise InvalidInputError("the form has no items; reload the page")
    keys = service.items.keys
    action = LabelItems(
        items=tuple(keys[item] for item in shown if item not in wrong),
        label=_class_name(service, form, "label"),
        seen=_seen(service, form),
        rejected=tuple(keys[item] for item in shown if item in wrong),
    )
    service.submit(annotator, action)


def submit_class(service: AnnotationService, annotator: str, form: Form) -> None:
    """Add, rename or merge a class.

    Args:
        service: the annotation.
        annotator: id of the page.
        form: `change` and the names.

    Raises:
        InvalidInputError: the form does not fit the annotation.
    """
    changes: dict[str, Callable[[], Action]] = {
        "add": lambda: AddClass(field(form, "name")),
        "rename": lambda: RenameClass(_class_name(service, form, "name"), field(form, "new_name")),
        "merge": lambda: MergeClass(
            _class_name(service, form, "name"), _class_name(service, form, "into")
        ),
    }
    change = field(form, "change")
    if change == "undo":
        service.undo(annotator)
    elif change in changes:
        service.submit(annotator, changes[change]())
    else:
        raise InvalidInputError(f"the change is {change[:20]!r}; reload the page")


def _class_name(service: AnnotationService, form: Form, name: str) -> str:
    """The class that a field names.

    Browsers change line breaks and repeated blanks, which classes of the source may have.
    """
    text = field(form, name)
    classes = service.snapshot().state.classes
    if text in classes:
        return text
    similar = [known for known in classes if known.split() == text.split()]
    return similar[0] if len(similar) == 1 else text


def _seen(service: AnnotationService, form: Form) -> int:
    """Number of the last entry that the page showed, which nobody can have seen before it exists."""
    return integer(form, "seen", service.snapshot().state.last_number + 1)
