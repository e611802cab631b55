"""What the commands show: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graphfew.runs import Schedule, ValidationEvent, ValidationRecord

WIDE = 160


def console() -> Console:
    """Standard output; where it is no terminal, wide enough for tables to stay whole."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def silence() -> Console:
    """Shows nothing, for all processes but the first."""
    return Console(quiet=True, force_terminal=False, file=io.StringIO())


def line(record: ValidationRecord, steps: int) -> str:
    """A validation in words."""
    loss = "" if record.loss is None else f"loss {record.loss:.4f}  "
    accuracy = "" if record.accuracy is None else f"accuracy {100 * record.accuracy:.2f} %  "
    return (
        f"step {record.step}/{steps}  {loss}{accuracy}"
        f"validation {100 * record.validation_accuracy:.2f} ± {100 * record.validation_half_width:.2f} %"
    )


@contextmanager
def training(
    screen: Console, schedule: Schedule, start: int
) -> Iterator[Callable[[ValidationEvent], None]]:
    """A function to call at every moment of training."""
    if not screen.is_terminal:
        yield _plain(screen, schedule)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task("training", total=schedule.steps, completed=start, note="")
        began = time.perf_counter()

        def watch(moment: ValidationEvent) -> None:
            if moment.record is not None:
                screen.print(line(moment.record, schedule.steps), highlight=False)
            elif moment.step is not None:
                done = moment.tally.step - start
                speed = done * schedule.batch / (time.perf_counter() - began)
                note = f"loss {moment.step.loss:.3f}  accuracy {moment.step.accuracy:.3f}  {speed:.0f} episodes/s"
                bar.update(task, completed=moment.tally.step, note=note)

        yield watch


@contextmanager
def counting(screen: Console, total: int) -> Iterator[Callable[[str, int], None]]:
    """A function to call with what is being done and how much of `total` is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)

        def show(what: str, done: int) -> None:
            bar.update(task, description=what, completed=done)

        yield show


def _plain(screen: Console, schedule: Schedule) -> Callable[[ValidationEvent], None]:
    def watch(moment: ValidationEvent) -> None:
        if moment.record is not None:
            print(line(moment.record, schedule.steps), file=screen.file, flush=True)

    return watch
