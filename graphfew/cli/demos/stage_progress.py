"""Progress of the demo: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# Called after each step with a note, such as the loss of the step.
Advance = Callable[[str], None]
SECONDS_BETWEEN_LINES = 5.0
TABLE_WIDTH = 120


def demo_console() -> Console:
    """A console on standard output; wide if that is not a terminal."""
    # Without a terminal rich assumes 80 columns, which would break the tables' rows.
    return Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)


@contextmanager
def stage(console: Console, title: str, n_steps: int) -> Iterator[Advance]:
    """Show the progress of `n_steps` steps; the block calls the yielded function after each one."""
    start = time.perf_counter()
    if console.is_terminal:
        with _progress_bar(console, title, n_steps) as advance:
            yield advance
    else:
        _print_line(console, f"{title} ...")
        yield _line_printer(console, title, n_steps)
    _print_line(console, f"{title}: done in {time.perf_counter() - start:.1f} s")


@contextmanager
def _progress_bar(console: Console, title: str, n_steps: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # The bar vanishes at the end: one line per stage remains, as without a terminal.
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=n_steps, note="")
        yield lambda note: bar.update(task, advance=1, note=note)


def _line_printer(console: Console, title: str, n_steps: int) -> Advance:
    n_done = 0
    last_line = time.perf_counter()

    def advance(note: str) -> None:
        nonlocal n_done, last_line
        n_done += 1
        now = time.perf_counter()
        if now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            _print_line(console, f"  {title}: {n_done}/{n_steps}  {note}".rstrip())

    return advance


def _print_line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)
    # A pipe is buffered by blocks: without this the lines would come all at once at the end.
    console.file.flush()
