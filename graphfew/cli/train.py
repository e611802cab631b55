"""`graphfew train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from graphfew.cli import console
from graphfew.cli._options import given_options, option_parameter, with_parameters
from graphfew.cli.error_handling import INTERRUPTED, PROCESS_LOST, interruptible, one_line_errors
from graphfew.cli.train_logging import NO_LOGGERS, LoggerOptions, choose_loggers, display_and_log
from graphfew.errors import ConfigurationError, ProcessLostError
from graphfew.runs import (
    PreparedRun,
    RunDir,
    TrainingInterrupted,
    execute,
    prepare,
    resume,
    training_options,
)
from graphfew.runs.event_logging import LOG_EVERY
from graphfew.runs.options import TRAINING_GROUP
from graphfew.runs.run_dir import read_config
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup
from graphfew.training.fabric import launch

OPTIONS = training_options()
# The method is an argument, not an option.
PARAMETERS = [option_parameter(option) for name, option in OPTIONS.items() if name != "method"]


@with_parameters(PARAMETERS)
def train(
    out: Annotated[Path, typer.Option(help="The run folder; new or empty, unless --resume.")],
    method: Annotated[str | None, typer.Argument(help=OPTIONS["method"].help)] = None,
    resume_run: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out.")
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            help="Processes that share each batch; on cuda, one per GPU. Needs "
            r"graphfew\[distributed].",
            rich_help_panel=TRAINING_GROUP,
        ),
    ] = 1,
    nodes: Annotated[
        int,
        typer.Option(
            help="Machines, each with as many processes, started by torchrun.",
            rich_help_panel=TRAINING_GROUP,
        ),
    ] = 1,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            help="Log to tensorboard, wandb or mlflow, too; may be given several times. A resumed "
            r"run keeps its loggers. Needs graphfew\[tensorboard] and so on.",
            show_default=False,
            rich_help_panel=TRAINING_GROUP,
        ),
    ] = None,
    log_every: Annotated[
        int,
        typer.Option(
            help="With --logger: steps between steps that are logged.",
            rich_help_panel=TRAINING_GROUP,
        ),
    ] = LOG_EVERY,
    **options: Any,
) -> None:
    """Train a method on tasks of a data set, and save the weights with the best validation accuracy.

    The run folder gets config.json, metrics.jsonl, best.safetensors, last.safetensors and
    timing.json. Ctrl-C saves; --resume continues and yields the same weights as an uninterrupted
    run. Validation tasks have their own seed.
    """
    with one_line_errors():
        numbers = {"processes": processes, "nodes": nodes, "log_every": log_every}
        for name, number in numbers.items():
            if number < 1:
                raise ConfigurationError(f"{name} is {number}; it must be at least 1", key=name)
        # Before data are loaded: a package may be missing.
        loggers = choose_loggers(logger or (), log_every, RunDir(out), resuming=resume_run)
        given = given_options({"method": method, **options}, OPTIONS)
        process_group: ProcessGroup = SINGLE_PROCESS
        # Before anything else: the processes that `launch` starts run this command too.
        if processes * nodes > 1:
            # A resumed run keeps its kind of device unless --device is given.
            device = given.get("device") or (_device_type(out) if resume_run else "cpu")
            process_group = launch(processes, device, nodes)
            # Each process has its own GPU.
            given["device"] = str(process_group.device)
        start = resume if resume_run else prepare
        prepared = start(out, given, process_group)
        _run(prepared, process_group, _resume_command(out, processes, nodes), loggers)


def _device_type(out: Path) -> str:
    """The device type of the run in a folder; with several processes each gets a device of it."""
    config, _ = read_config(RunDir(out))
    return config.device.partition(":")[0]


def _run(
    prepared: PreparedRun,
    process_group: ProcessGroup,
    resume_command: str,
    loggers: LoggerOptions,
) -> None:
    """Train to the end and report; only the first process prints and logs."""
    schedule = prepared.config.schedule
    out = prepared.run.folder
    is_first = process_group.rank == 0
    screen = console.stdout_console() if is_first else console.silent_console()
    # Resuming a finished run must not touch its files.
    if prepared.progress.is_finished(schedule):
        screen.print(
            f"Nothing to do: the run in {out} is finished ({schedule.steps} steps).",
            highlight=False,
        )
        return
    if is_first:
        # On standard error, because the output contains results only.
        for note in prepared.notes:
            typer.echo(f"note: {note}", err=True)
    # Only around the training: before it, Ctrl-C may end the program at once, as nothing is lost.
    with interruptible() as should_stop:
        try:
            with display_and_log(screen, prepared, loggers if is_first else NO_LOGGERS) as on_event:
                progress = execute(
                    prepared,
                    on_event=on_event,
                    should_stop=should_stop,
                    process_group=process_group,
                )
        except TrainingInterrupted as interrupt:
            if is_first:
                typer.echo(
                    f"Stopped after step {interrupt.step} of {schedule.steps}; "
                    f"continue with: {resume_command}",
                    err=True,
                )
            raise typer.Exit(INTERRUPTED) from interrupt
        except ProcessLostError as error:
            # Raised from a collective call, so nothing can be saved here: other processes may
            # be gone, and this one may be in the middle of a step.
            typer.echo(
                f"error: {error}; the run is unchanged since its last save, "
                f"continue with: {resume_command}",
                err=True,
            )
            # A separate exit code, so that a job script can tell a lost machine from an error.
            raise typer.Exit(PROCESS_LOST) from error
    screen.print(
        f"Done: best validation accuracy {100 * progress.best:.2f} %, in {out}.",
        highlight=False,
        soft_wrap=True,
    )


def _resume_command(out: Path, processes: int, nodes: int) -> str:
    """The command that continues the run."""
    # No other options: the run folder has them, and given ones would have to agree with it.
    command = ["graphfew", "train", "--resume", "--out", str(out)]
    if processes > 1:
        command += ["--processes", str(processes)]
    if nodes > 1:
        command += ["--nodes", str(nodes)]
    return shlex.join(command)
