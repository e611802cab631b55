"""Errors as one line on standard error, and signals as a flag that is checked between steps."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

import typer

from graphfew._utils.data_warning import DataWarning
from graphfew.errors import BadItemsError, GraphfewError

# Exit codes.
# 2 is also click's code for wrong usage; 130 is 128 + SIGINT, as shells report Ctrl-C. Job
# scripts may restart a run that ended with 3.
FAILED, PROCESS_LOST, INTERRUPTED = 2, 3, 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Errors of the user's input, of files and of the data; others are bugs and keep their traceback.
EXPECTED_ERRORS = (
    GraphfewError,
    ValueError,
    TypeError,
    OSError,
    ModuleNotFoundError,
    FloatingPointError,
)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an expected error as one line on standard error, and exit with code 2.

    A `DataWarning` is printed as one line, too.
    """
    try:
        with _one_line_warnings():
            yield
    except EXPECTED_ERRORS as error:
        typer.echo(f"error: {_message(error)}", err=True)
        raise typer.Exit(FAILED) from error


@contextmanager
def stop_on_interrupt(message: str) -> Iterator[None]:
    """Print a line on Ctrl-C, and exit with code 130."""
    try:
        yield
    # KeyboardInterrupt is not an Exception, so `one_line_errors` does not catch it.
    except KeyboardInterrupt as interrupt:
        typer.echo(message, err=True)
        raise typer.Exit(INTERRUPTED) from interrupt


def _message(error: Exception) -> str:
    """The message in one line, so that logs can be searched; a list of problems in a line each."""
    if isinstance(error, BadItemsError) and error.problems:
        lines = [f"  {' '.join(line.split())}" for line in error.problems]
        return "\n".join((f"{' '.join(error.headline.split())}:", *lines))
    # Some exceptions have no message at all.
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Print each `DataWarning` at once as one line on standard error, without a line of code."""
    with warnings.catch_warnings():
        # Each time, because the same assumption may concern several files.
        warnings.simplefilter("always", DataWarning)
        show_other = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, DataWarning):
                typer.echo(f"warning: {' '.join(str(message).split())}", err=True)
            else:
                show_other(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C and SIGTERM inside the block; a second signal acts as without it.

    Yields:
        A function that returns whether a signal was received.
    """
    # The handler only records the signal: raising from it could hit the middle of a step or a save.
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)
        # The user may press Ctrl-C again if a long step does not end.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        # A function instead of a value, because it must read the list at the time of the call.
        yield lambda: bool(received)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
