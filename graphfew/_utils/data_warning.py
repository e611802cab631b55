"""The warning about an assumption on the user's data."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

_PACKAGE = __name__.partition(".")[0]


class DataWarning(UserWarning):
    """Data could be read in more than one way: the message states what was assumed.

    It also states how to choose the other reading. To be strict, make it an error with
    `warnings.simplefilter("error", DataWarning)`.

    Example:
        >>> import warnings
        >>> import graphfew as gf
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always", gf.data.DataWarning)
        ...     data = gf.data.arrays([[0], [1], [2]], ["cat", "dog", "-1"])
        >>> data.classes, len(caught)
        (('cat', 'dog'), 1)
    """


def warn_data(notes: Iterable[str]) -> None:
    """Issue a `DataWarning` for each note, at the line that called the package."""
    # Python shows a warning once per line of code, so the line must be the caller's own: otherwise
    # a second call with other data would be silent.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=level)


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] == _PACKAGE
