"""`graphfew evaluate`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from graphfew._utils.atomic_io import check_writable
from graphfew.cli import console
from graphfew.cli._options import option_parameter, with_parameters
from graphfew.cli.error_handling import one_line_errors
from graphfew.data import DrawerRuns, Tasks
from graphfew.data.datasets.omniglot_runs import RUN_WAY
from graphfew.data.int_range import IntRange
from graphfew.data.query_text import parse_queries
from graphfew.errors import ConfigurationError
from graphfew.runs import (
    EvaluationRow,
    checkpoint_label,
    evaluate_checkpoints,
    load_split,
    parse_ratios,
    resolve_checkpoint,
    resolve_device,
    training_options,
    write_json,
)
from graphfew.runs.evaluation import EvaluationTasks, portable_command, report, set_mode
from graphfew.serialization import checkpoint

OPTIONS = training_options()
SHARED_OPTIONS = (
    "way",
    "shot",
    "unlabeled",
    "labeled_ratio",
    "distractors",
    "within_groups",
    "device",
)
# The options of training with other defaults: the test split, and no default data set.
PARAMETERS = [
    option_parameter(OPTIONS["data"], required=True, panel=False),
    option_parameter(OPTIONS["root"], panel=False),
    option_parameter(
        OPTIONS["split"], default="test", default_text="test", help="The split.", panel=False
    ),
    option_parameter(
        OPTIONS["query"],
        multiple=True,
        help=OPTIONS["query"].help + " Give several for several rows.",
        panel=False,
    ),
    option_parameter(OPTIONS["transductive"], default_text="as in training", panel=False),
]
# Real defaults instead of None: nothing is compared with a saved configuration here.
PARAMETERS += [
    option_parameter(OPTIONS[name], default=OPTIONS[name].default, panel=False)
    for name in SHARED_OPTIONS
]


@with_parameters(PARAMETERS)
def evaluate(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(help="Files, run folders (their best checkpoint) or pretrained models."),
    ],
    tasks: Annotated[int, typer.Option(help="Number of tasks.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the tasks.")] = 0,
    batch: Annotated[int, typer.Option(help="Tasks that are encoded together.")] = 16,
    labeled_only: Annotated[
        bool, typer.Option("--labeled-only", help="Drop unlabeled items.")
    ] = False,
    drawer_runs: Annotated[
        bool,
        typer.Option(
            "--drawer-runs",
            help="Tasks made as the published runs of Omniglot: all references by one drawer, all "
            "queries by another. Implied by omniglot_runs.",
        ),
    ] = False,
    allow_seen_classes: Annotated[
        bool,
        typer.Option(
            "--allow-seen-classes",
            help="Evaluate also on classes that a checkpoint was trained on.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the accuracy of each task to this JSON file.")
    ] = None,
    **options: Any,
) -> None:
    """Evaluate checkpoints on the same tasks: mean accuracy with 95 % confidence intervals.

    The difference of each checkpoint to the first one is paired by task.
    """
    with one_line_errors():
        # First, because the evaluation may take hours and writes the file at its end.
        if out is not None:
            _check_target(out)
        # Every path is resolved before the first model is loaded.
        files = [resolve_checkpoint(path) for path in checkpoints]
        device = resolve_device(options["device"])
        models = []
        for file in files:
            model = checkpoint.load(file, device=device)
            model = set_mode(model, options["transductive"], unlabeled=not labeled_only)
            models.append((checkpoint_label(file), model))
        task_sets = _task_sets(options, seed, drawer_runs=drawer_runs)
        screen = console.stdout_console()
        total = len(task_sets) * len(models) * tasks
        with console.counter_display(screen, total) as on_progress:
            # The generator runs here: the progress display must close before the table is printed.
            rows = list(
                evaluate_checkpoints(
                    models,
                    task_sets,
                    tasks,
                    batch,
                    on_progress,
                    allow_seen_classes=allow_seen_classes,
                )
            )
        screen.print(_table(rows))
        if out is not None:
            # As typed, but without the folders of this machine: reports are shared.
            write_json(out, report(portable_command(sys.argv[1:]), rows))


def _check_target(out: Path) -> None:
    """Raise if the results cannot be written there."""
    if out.is_dir():
        raise ConfigurationError(f"{out} is a folder; give a file for the results", key="out")
    check_writable(out)


def _task_sets(
    options: dict[str, Any], seed: int, *, drawer_runs: bool
) -> Sequence[EvaluationTasks]:
    """The tasks, for each query sampling."""
    name = options["data"].replace("-", "_")
    is_published = name == "omniglot_runs"
    # Rotated characters would be further classes of their alphabet.
    arguments = {"rotations": False} if drawer_runs and name == "omniglot" else {}
    data = load_split(name, options["split"], options["root"], **arguments)
    if drawer_runs or is_published:
        _check_run_options(options)
        way = RUN_WAY
        if options["way"] != OPTIONS["way"].default:
            way = IntRange.parse(options["way"], name="way").high
        return [DrawerRuns(data, way, seed, fixed_roles=is_published)]
    tasks = Tasks(
        data,
        way=IntRange.parse(options["way"], name="way"),
        shot=IntRange.parse(options["shot"], name="shot"),
        seed=seed,
        unlabeled=IntRange.parse(options["unlabeled"], name="unlabeled"),
        labeled_ratio=parse_ratios(options["labeled_ratio"]),
        distractors=IntRange.parse(options["distractors"], name="distractors"),
        within_groups=options["within_groups"],
    )
    queries = options["query"] or [OPTIONS["query"].default]
    # `replace` shares the loaded data between the sets of tasks.
    return [dataclasses.replace(tasks, query=parse_queries(query)) for query in queries]


def _check_run_options(options: dict[str, Any]) -> None:
    """Reject options that runs of two drawers do not have."""
    for name in ("shot", "query", "unlabeled", "labeled_ratio", "distractors"):
        if options[name] and options[name] != OPTIONS[name].default:
            raise ConfigurationError(
                f"runs of two drawers have one reference and one query per class, got {name} = "
                f"{options[name]}; omit it",
                key=name,
            )


def _table(rows: Sequence[EvaluationRow]) -> Table:
    """The results as a table, with a column of differences if there are several checkpoints."""
    tasks = rows[0].result.tasks
    # Runs of two drawers are another protocol, with other accuracies, than items drawn at random.
    pairing = f"; drawers: {tasks['drawers']}" if "drawers" in tasks else ""
    table = Table(
        title=f"{tasks['data']}/{tasks['split']}, {tasks['way']}-way {tasks['shot']}-shot: "
        f"accuracy in %, 95 % intervals over tasks{pairing}"
    )
    for name in ("checkpoint", "method", "mode", "queries"):
        table.add_column(name)
    for name in ("tasks", "decisions", "accuracy"):
        table.add_column(name, justify="right")
    has_comparison = any(row.comparison for row in rows)
    if has_comparison:
        table.add_column("difference to the first")
    for row in rows:
        result = row.result
        cells: list[object] = [
            row.name,
            result.model["method"],
            result.mode,
            result.tasks["query"],
            len(result.per_task),
            row.n_queries,
            f"{100 * result.mean:.2f} ± {100 * result.half_width:.2f}",
        ]
        if has_comparison:
            cells.append(str(row.comparison or ""))
        table.add_row(*map(str, cells))
    return table
