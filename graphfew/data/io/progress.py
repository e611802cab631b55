"""Progress on standard error, for decoding and encoding: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

# Seconds between two lines in a log.
LINE_INTERVAL = 10.0


@contextmanager
def progress_counter(label: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Show progress and yield a function that sets the number of completed steps."""
    # Imported here, because rich takes a large part of the import time of the library.
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if show and not console.is_terminal:
        # A bar would leave nothing but an empty line in a log.
        yield _line_printer(label, total)
        return
    with Progress(console=console, transient=True, disable=not show) as progress:
        bar = progress.add_task(label, total=total)
        yield lambda completed: progress.update(bar, completed=completed)


def with_progress(items: Iterable[Item], label: str, total: int, show: bool) -> Iterator[Item]:
    """Iterate over items and show progress."""
    with progress_counter(label, total, show) as set_completed:
        for completed, item in enumerate(items, start=1):
            yield item
            set_completed(completed)


def _line_printer(label: str, total: int) -> Callable[[int], None]:
    """Return a function that prints the number of completed steps now and then."""
    printed = time.monotonic()

    def set_completed(completed: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= LINE_INTERVAL:
            printed = now
            print(f"{label}: {completed:,} of {total:,}", file=sys.stderr, flush=True)

    return set_completed
