"""Labels of partially labeled items, as they are in files and names of folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphfew._utils.data_warning import warn_data
from graphfew.data.label_marks import suggest_argument
from graphfew.data.label_values import label_values
from graphfew.data.labels import resolve_labels
from graphfew.errors import InvalidInputError

Labels = tuple[str | None, ...]


def distinct_labels(labels: Labels) -> tuple[str, ...]:
    """Return the distinct labels, sorted, without None."""
    # Sorted, so that class indices do not depend on the order of the items.
    return tuple(sorted({label for label in labels if label is not None}))


def parse_labels(
    texts: Sequence[str],
    unlabeled_marks: Sequence[str] | None = None,
    suggest: Callable[[Sequence[str]], str] = suggest_argument,
) -> Labels:
    """Convert the text of a table, or the names of folders, to labels.

    Warns of what is ambiguous; the rules are those of `graphfew.data.labels.resolve_labels`.

    Args:
        texts: `[n]` labels as text; surrounding blanks are removed.
        unlabeled_marks: the texts that mark unlabeled items; None takes the default ones.
        suggest: describes how the caller sets the marks.

    Returns:
        `[n]` labels; None if unknown.

    Example:
        >>> parse_labels(["cat", " dog ", "", "-1", "unlabelled"])
        ('cat', 'dog', None, None, None)
    """
    resolved = resolve_labels(label_values(list(texts)), unlabeled_marks, suggest=suggest)
    warn_data(resolved.notes)
    labels = zip(resolved.values.tolist(), resolved.is_unknown.tolist(), strict=True)
    return tuple(None if is_unknown else text.strip() for text, is_unknown in labels)


def check_labels(labels: Labels) -> None:
    """Raise InvalidInputError if fewer than two classes have a label."""
    classes = distinct_labels(labels)
    if not classes:
        raise InvalidInputError(
            f"none of the {len(labels)} items has a label; label at least one item of each class"
        )
    if len(classes) == 1:
        raise InvalidInputError(
            f"all labeled items belong to one class, {classes[0]!r}; label items of a second "
            "class, too (an empty label or -1 means unknown)"
        )
