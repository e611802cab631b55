"""`graphfew train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from graphfew.cli import console
from graphfew.cli.error_handling import INTERRUPTED, LOST, interruptible, one_line
from graphfew.errors import ProcessLostError
from graphfew.runs import (
    Interrupted,
    PreparedRun,
    Run,
    execute,
    finished,
    prepare,
    reopen,
    settings,
)
from graphfew.runs.run_dir import read_config
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup
from graphfew.training.fabric import launch

Text = str | None
Number = int | None
NOT_OF_THE_RUN = ("out", "resume", "processes", "nodes")
TASKS, MODEL, TRAINING, CHOICE = "Tasks", "Model", "Training", "Validation"


def train(
    out: Annotated[Path, typer.Option(help="The run folder; new or empty, unless --resume.")],
    method: Annotated[Text, typer.Argument(help="A method of `graphfew methods`.")] = None,
    data: Annotated[
        Text, typer.Option(help="A data set of `graphfew data`.", rich_help_panel=TASKS)
    ] = None,
    root: Annotated[
        Text, typer.Option(help="The folder of the data's archives.", rich_help_panel=TASKS)
    ] = None,
    split: Annotated[Text, typer.Option(show_default="train", rich_help_panel=TASKS)] = None,
    way: Annotated[
        Text,
        typer.Option(
            help="Classes per task: 5, or a range 5-20.", show_default="5", rich_help_panel=TASKS
        ),
    ] = None,
    shot: Annotated[
        Text,
        typer.Option(
            help="Labeled items per class, or a range.", show_default="1", rich_help_panel=TASKS
        ),
    ] = None,
    query: Annotated[
        Text,
        typer.Option(
            help="Queries: 5 (per class), 1-15, multinomial:25, dirichlet:75:2.0, single, "
            "single-class:75, one-per-class, varied:1-75, or several joined by +.",
            show_default="5",
            rich_help_panel=TASKS,
        ),
    ] = None,
    unlabeled: Annotated[
        Text,
        typer.Option(
            help="Unlabeled items per class, or a range.", show_default="0", rich_help_panel=TASKS
        ),
    ] = None,
    labeled_ratio: Annotated[
        Text,
        typer.Option(
            help="Share of the shots that keep their label; several with commas.",
            show_default="1",
            rich_help_panel=TASKS,
        ),
    ] = None,
    distractors: Annotated[
        Text,
        typer.Option(
            help="Other classes among the unlabeled items, or a range.",
            show_default="0",
            rich_help_panel=TASKS,
        ),
    ] = None,
    label_noise: Annotated[
        float | None,
        typer.Option(
            help="Share of supports that are of another class.",
            show_default="0",
            rich_help_panel=TASKS,
        ),
    ] = None,
    within_groups: Annotated[
        bool | None,
        typer.Option(
            "--within-groups",
            help="All classes of a task from one group.",
            show_default=False,
            rich_help_panel=TASKS,
        ),
    ] = None,
    data_set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="An argument of the data's loader.", rich_help_panel=TASKS
        ),
    ] = None,
    augment: Annotated[
        Text,
        typer.Option(
            help="Change training images at random: affine, crop:4, flip, color:0.4, or "
            "several joined by +.",
            rich_help_panel=TASKS,
        ),
    ] = None,
    encoder: Annotated[
        Text, typer.Option(help="A backbone.", show_default="conv4", rich_help_panel=MODEL)
    ] = None,
    encoder_set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="An argument of the encoder.", rich_help_panel=MODEL
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An argument of the method.", rich_help_panel=MODEL
        ),
    ] = None,
    transductive: Annotated[
        bool | None,
        typer.Option(
            "--transductive/--inductive", show_default="the method's own", rich_help_panel=MODEL
        ),
    ] = None,
    init_encoder: Annotated[
        Text,
        typer.Option(
            metavar="CHECKPOINT",
            help="Start from this checkpoint's encoder.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    freeze_encoder: Annotated[
        bool | None,
        typer.Option(
            "--freeze-encoder",
            help="Train the layers only.",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    views: Annotated[
        Number,
        typer.Option(
            help="With a frozen encoder: jittered copies of each image, averaged.",
            show_default="1",
            rich_help_panel=MODEL,
        ),
    ] = None,
    mirror: Annotated[
        Number,
        typer.Option(
            help="With a frozen encoder: each image and its mirror, moved by so many "
            "pixels, averaged.",
            show_default="no",
            rich_help_panel=MODEL,
        ),
    ] = None,
    components: Annotated[
        Number,
        typer.Option(
            help="With a frozen encoder: its features, of one length, turned to so "
            "many principal components.",
            show_default="no",
            rich_help_panel=MODEL,
        ),
    ] = None,
    objective: Annotated[
        Text,
        typer.Option(
            help="tasks, or classes: the encoder learns to tell all classes apart.",
            show_default="tasks",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    turns: Annotated[
        bool | None,
        typer.Option(
            "--turns",
            help="With classes: each quarter turn is a class of its own.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    steps: Annotated[
        Number,
        typer.Option(
            help="Updates; 0 writes the model untrained.",
            show_default="10000",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch: Annotated[
        Number,
        typer.Option(
            help="Tasks (with classes: items) per step.",
            show_default="32",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    optimizer: Annotated[
        Text,
        typer.Option(help="adam, adamw or sgd.", show_default="adam", rich_help_panel=TRAINING),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate.", show_default="0.001", rich_help_panel=TRAINING),
    ] = None,
    halve_every: Annotated[
        Number,
        typer.Option(
            help="Steps after which the rate is halved.",
            show_default="never",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    cosine: Annotated[
        bool | None,
        typer.Option(
            "--cosine",
            help="The rate falls to 0 along half a cosine.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    warmup: Annotated[
        Number,
        typer.Option(
            help="Steps over which the rate is reached.", show_default="0", rich_help_panel=TRAINING
        ),
    ] = None,
    average: Annotated[
        float | None,
        typer.Option(
            help="Keep a running average of the weights, of this decay (0.999).",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    precision: Annotated[
        Text,
        typer.Option(
            help="Of products in training: float32; bfloat16, the encoder's; "
            "bfloat16-whole, the layers' too.",
            show_default="float32",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    recompute: Annotated[
        bool | None,
        typer.Option(
            "--recompute",
            help="Work the rows of EGNN's and GNN's networks out "
            "again backward: about half of the memory for large tasks.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(show_default="0", rich_help_panel=TRAINING)
    ] = None,
    loss: Annotated[
        Text,
        typer.Option(
            help="node, edge, joint (both), pair, relation, known-nodes or dpgn.",
            show_default="the method's own",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[Number, typer.Option(show_default="0", rich_help_panel=TRAINING)] = None,
    device: Annotated[Text, typer.Option(show_default="cpu", rich_help_panel=TRAINING)] = None,
    processes: Annotated[
        int,
        typer.Option(
            help="Processes that share every batch; on cuda, one for each GPU. Needs "
            "graphfew[distributed].",
            rich_help_panel=TRAINING,
        ),
    ] = 1,
    nodes: Annotated[
        int,
        typer.Option(
            help="Machines, each with as many processes, started by torchrun or the like.",
            rich_help_panel=TRAINING,
        ),
    ] = 1,
    save_every: Annotated[
        Number,
        typer.Option(
            help="Steps between saves.",
            show_default="as --validate-every",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    validate: Annotated[
        Text,
        typer.Option(
            help="The split that chooses the best checkpoint.",
            show_default="val",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    patience: Annotated[
        Number,
        typer.Option(
            help="Stop after so many validations without a better one.", rich_help_panel=CHOICE
        ),
    ] = None,
    validate_every: Annotated[
        Number, typer.Option(help="Steps.", show_default="500", rich_help_panel=CHOICE)
    ] = None,
    validate_tasks: Annotated[
        Number, typer.Option(show_default="200", rich_help_panel=CHOICE)
    ] = None,
    validate_way: Annotated[Text, typer.Option(show_default="5", rich_help_panel=CHOICE)] = None,
    validate_shot: Annotated[
        Text, typer.Option(show_default="as --shot", rich_help_panel=CHOICE)
    ] = None,
    validate_query: Annotated[Text, typer.Option(show_default="5", rich_help_panel=CHOICE)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train a method on tasks of a data set, and keep the weights that do best on its validation split.

    The run folder gets config.json, metrics.jsonl, best.safetensors, last.safetensors and timing.json. Ctrl-C saves;
    --resume goes on as if nothing had happened. Training tasks are those of --seed, validation tasks those of a seed
    1,000,003 above it.
    """
    named = dict(locals())
    with one_line():
        options = _options(named)
        workers: ProcessGroup = SINGLE_PROCESS
        if processes * nodes > 1:
            workers = launch(processes, device or (_kind(out) if resume else "cpu"), nodes)
            options["device"] = str(workers.device)
        again = _again(out, processes, nodes)
        _run(
            reopen(out, options, workers) if resume else prepare(out, options, workers),
            out,
            workers,
            again,
        )


def _options(named: dict[str, Any]) -> dict[str, Any]:
    """What was given, by the names of the configuration."""
    settable = {
        "arguments": named.pop("set_"),
        "encoder_arguments": named.pop("encoder_set"),
        "data_arguments": named.pop("data_set"),
    }
    given = {
        name: value
        for name, value in named.items()
        if value is not None and name not in NOT_OF_THE_RUN
    }
    return {**given, **{name: settings(pairs) for name, pairs in settable.items() if pairs}}


def _kind(out: Path) -> str:
    """The kind of device that the run in the folder was on, which several processes share out anew."""
    config, _ = read_config(Run(out))
    return config.device.partition(":")[0]


def _run(prepared: PreparedRun, out: Path, workers: ProcessGroup, again: str) -> None:
    schedule, begun = prepared.config.schedule, prepared.tally
    shown = console.console() if workers.rank == 0 else console.silence()
    if finished(begun, schedule):
        shown.print(
            f"Nothing to do: the run in {out} is finished ({schedule.steps} steps).",
            highlight=False,
        )
        return
    for note in prepared.notes if workers.rank == 0 else ():
        typer.echo(f"note: since the run began, {note}; it may differ in the last digits", err=True)
    with interruptible() as stop:
        try:
            with console.training(shown, schedule, begun.step) as watch:
                done = execute(prepared, watch=watch, stop=stop, workers=workers)
        except Interrupted as interrupt:
            if workers.rank == 0:
                typer.echo(
                    f"Stopped after step {interrupt.step} of {schedule.steps}; go on with: {again}",
                    err=True,
                )
            raise typer.Exit(INTERRUPTED) from interrupt
        except ProcessLostError as lost:
            typer.echo(
                f"error: {lost}; the run is kept as it was last saved, go on with: {again}",
                err=True,
            )
            raise typer.Exit(LOST) from lost
    shown.print(
        f"Done: best validation accuracy {100 * done.best:.2f} %, in {out}.",
        highlight=False,
        soft_wrap=True,
    )


def _again(out: Path, processes: int, nodes: int) -> str:
    """The command that goes on."""
    more = [
        part
        for option, count in (("--processes", processes), ("--nodes", nodes))
        if count > 1
        for part in (option, str(count))
    ]
    return shlex.join(["graphfew", "train", "--resume", "--out", str(out), *more])
