"""Progress bars on standard error, for decoding and encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def progress_counter(label: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar and yield a function that sets the number of completed steps."""
    # Imported here, because rich takes a large part of the import time of the library.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not show) as progress:
        bar = progress.add_task(label, total=total)
        yield lambda completed: progress.update(bar, completed=completed)


def with_progress(items: Iterable[Item], label: str, total: int, show: bool) -> Iterable[Item]:
    """Iterate over items with a progress bar."""
    from rich.console import Console
    from rich.progress import track

    return track(
        items, label, total=total, disable=not show, console=Console(stderr=True), transient=True
    )
