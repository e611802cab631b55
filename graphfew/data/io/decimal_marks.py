"""Numbers with a decimal point or a decimal comma."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

DecimalMark = Literal["point", "comma"]
# A point before a comma separates thousands: 1.234,5.
_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?,\d+([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)?\.\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def parse_number(text: str, decimal: DecimalMark = "point") -> float:
    """Convert text to a number.

    With decimal commas, a point is accepted where it separates thousands before a comma: alone, it
    may be either.

    Raises:
        ValueError: the text is not a number.

    Example:
        >>> parse_number("0.5"), parse_number("1.234,5", "comma")
        (0.5, 1234.5)
    """
    if decimal == "comma":
        text = text.strip()
        if _COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        elif "." in text:
            raise ValueError(f"{text!r} has a decimal point")
    return float(text)


def is_number(text: str, decimal: DecimalMark = "point") -> bool:
    """Return whether text is a number.

    Example:
        >>> is_number("1,5"), is_number("1,5", "comma")
        (False, True)
    """
    try:
        parse_number(text, decimal)
    except ValueError:
        return False
    return True


def is_number_column(texts: Sequence[str], decimal: DecimalMark) -> bool:
    """Return whether at least half of the cells that are not blank are numbers."""
    present = [text for text in texts if text.strip()]
    n_numbers = sum(is_number(text, decimal) for text in present)
    return bool(present) and 2 * n_numbers >= len(present)


def find_decimal_mark(columns: Iterable[Sequence[str]]) -> DecimalMark:
    """Find the decimal mark of a table: what more cells of its columns of numbers have.

    Args:
        columns: cells of each column.

    Example:
        >>> find_decimal_mark([["1,5", "2"], ["yes", "no, thanks"]])
        'comma'
    """
    n_commas = n_points = n_thousands = 0
    for texts in columns:
        if not (is_number_column(texts, "comma") or is_number_column(texts, "point")):
            continue
        cells = [text.strip() for text in texts]
        n_commas += sum(_COMMA.fullmatch(cell) is not None for cell in cells)
        n_points += sum(_POINT.fullmatch(cell) is not None for cell in cells)
        n_thousands += sum(_THOUSANDS.fullmatch(cell) is not None for cell in cells)
    # 1,234 next to 0.5 separates thousands.
    if n_points and n_thousands == n_commas:
        return "point"
    return "comma" if n_commas > n_points else "point"
