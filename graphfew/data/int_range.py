"""Inclusive ranges of integers, such as "5 to 20 shots", with one text form and its parser."""

from __future__ import annotations

import dataclasses
import re
from typing import TypeAlias

import numpy as np

# At most 18 digits, so that a number fits into int64; ASCII, since `\d` matches the digits of other
# scripts, too.
_TEXT = re.compile(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class IntRange:
    """An inclusive range of integers; a single value is a range of length one.

    Attributes:
        low: smallest value.
        high: largest value, included.

    Raises:
        ValueError: `low` is greater than `high`.

    Example:
        >>> IntRange.parse("5-20")
        IntRange(low=5, high=20)
        >>> str(IntRange(5, 20)), str(IntRange(3, 3))
        ('5-20', '3')
        >>> IntRange.of((1, 4), name="shot", minimum=1).high
        4
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a range must run from low to high, got {self.low}-{self.high}")

    def __str__(self) -> str:
        return str(self.low) if self.is_constant else f"{self.low}-{self.high}"

    @property
    def is_constant(self) -> bool:
        """Whether the range has a single value."""
        return self.low == self.high

    @classmethod
    def of(cls, value: IntOrRange, *, name: str = "value", minimum: int = 0) -> IntRange:
        """Convert an int, a pair `(low, high)` or a range, and check it.

        Args:
            value: what a caller passed.
            name: name of the argument, for error messages.
            minimum: smallest value allowed.

        Raises:
            ValueError: `value` is of another type, runs from high to low, or falls below `minimum`.

        Example:
            >>> IntRange.of(5)
            IntRange(low=5, high=5)
        """
        bounds = _bounds(value)
        if bounds is None:
            raise ValueError(f"{name} is {value!r}; pass an int or an inclusive range (low, high)")
        low, high = bounds
        if low > high or low < minimum:
            # `str` of a range is what was typed; pairs are shown as they were passed.
            shown = str(value) if isinstance(value, IntRange) else repr(value)
            raise ValueError(
                f"{name} is {shown}; it must be at least {minimum}, "
                f"and a range must run from low to high"
            )
        return cls(low, high)

    @classmethod
    def parse(cls, text: str, *, name: str = "value") -> IntRange:
        """Read the text form: `"5"` or `"5-20"`.

        Args:
            text: what `str` of a range returns.
            name: name of the option, for error messages.

        Raises:
            ValueError: `text` has another form, or the range runs from high to low.

        Example:
            >>> IntRange.parse("7")
            IntRange(low=7, high=7)
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{name} is {text!r}; pass a number such as 5, or a range such as 5-20"
            )
        low = int(match[1])
        high = int(match[2] or match[1])
        if low > high:
            raise ValueError(f"{name} is {text!r}; a range must run from low to high")
        return cls(low, high)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw a value uniformly; a constant range leaves `rng` unchanged.

        Example:
            >>> IntRange(3, 3).draw(np.random.default_rng(0))
            3
        """
        # Without a draw, a constant option has no influence on the draws that follow.
        if self.is_constant:
            return self.low
        return int(rng.integers(self.low, self.high + 1))

    def to_json(self) -> int | list[int]:
        """Return the value of a constant range, else `[low, high]`.

        Example:
            >>> IntRange(1, 4).to_json()
            [1, 4]
        """
        return self.low if self.is_constant else [self.low, self.high]


IntOrRange: TypeAlias = int | tuple[int, int] | IntRange


def _bounds(value: object) -> tuple[int, int] | None:
    """Return `(low, high)`, or None if `value` is not a range."""
    if isinstance(value, IntRange):
        return value.low, value.high
    # JSON has no tuples: `to_json` writes a list, and a saved range comes back as one.
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        return None
    for number in pair:
        # bool is a subclass of int, but `way=True` is a mistake.
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            return None
    low, high = pair
    return int(low), int(high)
