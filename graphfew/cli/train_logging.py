"""The loggers of `graphfew train`, next to its display."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import typer
from rich.console import Console

from graphfew.cli import console
from graphfew.loggers import check_logger, open_logger
from graphfew.loggers.logger_protocol import LogFunction
from graphfew.loggers.opening import opened_loggers
from graphfew.runs import PreparedRun, RunDir, TrainingEvent, log_events
from graphfew.runs.event_logging import LOG_EVERY

OnEvent = Callable[[TrainingEvent], None]


@dataclasses.dataclass(frozen=True)
class LoggerOptions:
    """The loggers of a run.

    Attributes:
        names: the loggers.
        every: number of steps between steps that are logged.
        resuming: continue the runs that the run folder has in them.
    """

    names: tuple[str, ...]
    every: int = LOG_EVERY
    resuming: bool = False


# Of the processes that do not log.
NO_LOGGERS = LoggerOptions(())


def choose_loggers(
    given: Sequence[str], every: int, run: RunDir, *, resuming: bool
) -> LoggerOptions:
    """The loggers that are given, and those that a resumed run has used before.

    Raises:
        ConfigurationError: if a name is unknown.
        MissingDependencyError: if a package is not installed.
    """
    previous = opened_loggers(run.folder) if resuming else ()
    names = tuple(dict.fromkeys([*previous, *given]))
    for name in names:
        check_logger(name)
    return LoggerOptions(names, every, resuming)


@contextmanager
def display_and_log(
    screen: Console, prepared: PreparedRun, loggers: LoggerOptions
) -> Iterator[OnEvent]:
    """Display and log a training run.

    Args:
        screen: the console.
        prepared: the run.
        loggers: its loggers.

    Yields:
        The function to call after each event.
    """
    step = prepared.progress.step
    with ExitStack() as stack:
        display = console.training_display(screen, prepared.config.schedule, step)
        callbacks = [stack.enter_context(display)]
        for name in loggers.names:
            logger = open_logger(
                name,
                prepared.run.folder,
                config=prepared.config.to_options(),
                resume=loggers.resuming,
                start=step,
            )
            log = _until_it_fails(name, stack.enter_context(logger))
            callbacks.append(log_events(log, prepared.state.optimizer, every=loggers.every))

        def on_event(event: TrainingEvent) -> None:
            for callback in callbacks:
                callback(event)

        yield on_event


def _until_it_fails(name: str, log: LogFunction) -> LogFunction:
    """Wrap a log function: its first error is reported, and then nothing is logged any more."""
    has_failed = False

    def tolerant_log(values: Mapping[str, float], step: int) -> None:
        nonlocal has_failed
        if has_failed:
            return
        try:
            log(values, step)
        # Exceptions of any package. Hours of training must not end with a server that is gone.
        except Exception as error:
            has_failed = True
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            typer.echo(
                f"note: {name} failed at step {step} ({reason}) and gets no more values; "
                "metrics.jsonl has all validations",
                err=True,
            )

    return tolerant_log
