"""Output of the commands: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graphfew.runs import Schedule, TrainingEvent, ValidationRecord

# Wide enough for tables to stay whole in a log file.
LOG_WIDTH = 160


def stdout_console() -> Console:
    """A console on standard output; wide if that is not a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=LOG_WIDTH)


def print_lines(screen: Console, lines: Iterable[str]) -> None:
    """Print lines as they are: names and paths may look like markup, and must not be broken."""
    for line in lines:
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def silent_console() -> Console:
    """A console that prints nothing, for all processes but the first."""
    # Not a terminal: a live display would start a thread that refreshes a bar nobody sees.
    return Console(quiet=True, force_terminal=False, file=io.StringIO())


def format_validation(record: ValidationRecord, steps: int) -> str:
    """Format a validation as one line."""
    parts = [f"step {record.step}/{steps}"]
    if record.loss is not None:
        parts.append(f"loss {record.loss:.4f}")
    if record.accuracy is not None:
        parts.append(f"accuracy {100 * record.accuracy:.2f} %")
    mean = 100 * record.validation_accuracy
    half_width = 100 * record.validation_half_width
    parts.append(f"validation {mean:.2f} ± {half_width:.2f} %")
    return "  ".join(parts)


@contextmanager
def training_display(
    screen: Console, schedule: Schedule, start: int
) -> Iterator[Callable[[TrainingEvent], None]]:
    """Display a training run: each validation, and on a terminal a progress bar of the steps.

    Args:
        screen: the console.
        schedule: the schedule of the run.
        start: number of steps completed before.

    Yields:
        The function to call after each event.
    """
    # The control characters of a bar would fill a log file.
    if not screen.is_terminal:
        yield _line_printer(screen, schedule)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task("training", total=schedule.steps, completed=start, note="")
        started = time.perf_counter()

        def on_event(event: TrainingEvent) -> None:
            if event.record is not None:
                # Otherwise rich colors every number of the line.
                screen.print(format_validation(event.record, schedule.steps), highlight=False)
            elif event.step is not None:
                # Steps of earlier sessions took none of the time since `started`.
                n_steps = event.progress.step - start
                speed = n_steps * schedule.batch / (time.perf_counter() - started)
                note = (
                    f"loss {event.step.loss:.3f}  accuracy {event.step.accuracy:.3f}  "
                    f"{speed:.0f} episodes/s"
                )
                bar.update(task, completed=event.progress.step, note=note)

        yield on_event


def _line_printer(screen: Console, schedule: Schedule) -> Callable[[TrainingEvent], None]:
    """A function that prints each validation as a plain line."""

    def on_event(event: TrainingEvent) -> None:
        if event.record is not None:
            line = format_validation(event.record, schedule.steps)
            # Not rich, which would wrap the line. Flushed, so that `tail -f` shows it at once.
            print(line, file=screen.file, flush=True)

    return on_event


@contextmanager
def counter_display(screen: Console, total: int | None) -> Iterator[Callable[[str, int], None]]:
    """Display a progress bar on a terminal.

    Args:
        screen: the console.
        total: the count at the end; None if unknown.

    Yields:
        The function to call with the current activity and count.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)

        def on_progress(activity: str, completed: int) -> None:
            bar.update(task, description=activity, completed=completed)

        yield on_progress
