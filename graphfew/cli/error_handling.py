"""Faults as one line on standard error, and interrupts as a flag that is looked at between steps."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from graphfew.errors import GraphfewError

REFUSED, LOST, INTERRUPTED = 2, 3, 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def one_line() -> Iterator[None]:
    """Expected faults end the command with one line on standard error and exit code 2."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        OSError,
        ModuleNotFoundError,
        FloatingPointError,
        GraphfewError,
    ) as error:
        typer.echo(f"error: {' '.join(str(error).split()) or type(error).__name__}", err=True)
        raise typer.Exit(REFUSED) from error


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C or SIGTERM came. A second one acts at once, as without this."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
