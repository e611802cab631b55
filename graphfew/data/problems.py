"""Problems of single items, such as a broken image or a cell of text: reported together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from graphfew.errors import BadItemsError

MAX_SHOWN = 20
SKIP_REMEDY = "correct or remove {it}, or leave {it} out with --skip-bad"


@dataclasses.dataclass(frozen=True)
class ItemProblem:
    """Why one item cannot be used.

    Attributes:
        row: position of the item among all items.
        place: where it is, such as `line 3, column 'b'` or the path of an image.
        reason: what is wrong, such as `is empty`.

    Example:
        >>> str(ItemProblem(2, "line 4, column 'width'", "is empty"))
        "line 4, column 'width' is empty"
    """

    row: int
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place} {self.reason}"


def raise_problems(origin: str, problems: Sequence[ItemProblem], remedy: str) -> None:
    """Raise if there are problems.

    Args:
        origin: the file or folder.
        problems: the problems.
        remedy: what to do; `{it}` is the item or the items.

    Raises:
        BadItemsError: with the number of items and the first problems.
    """
    if len(problems) == 1:
        raise BadItemsError(f"{origin}, {problems[0]}; {remedy.format(it='it')}")
    if problems:
        advice = remedy.format(it="them")
        headline = f"{origin}: {count_items(problems)} cannot be read; {advice}"
        raise BadItemsError(headline, describe_problems(problems))


def describe_problems(problems: Sequence[ItemProblem]) -> tuple[str, ...]:
    """Return one line for each of the first problems, and one that counts the others.

    Example:
        >>> describe_problems([ItemProblem(0, "a.png", "is empty")])
        ('a.png is empty',)
    """
    lines = [str(problem) for problem in problems[:MAX_SHOWN]]
    if len(problems) > MAX_SHOWN:
        lines.append(f"… and {len(problems) - MAX_SHOWN} more")
    return tuple(lines)


def count_items(problems: Sequence[ItemProblem]) -> str:
    """Return the number of items with a problem, as text.

    Example:
        >>> count_items([ItemProblem(0, "a.png", "is empty")])
        '1 item'
    """
    n_items = len({problem.row for problem in problems})
    return f"{n_items} {'item' if n_items == 1 else 'items'}"
