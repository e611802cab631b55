"""`graphfew evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from graphfew.cli import console
from graphfew.cli.error_handling import one_line
from graphfew.data import Tasks
from graphfew.data.query_sampling import parse_queries
from graphfew.runs import (
    find_device,
    label,
    load_split,
    ratios,
    resolve_checkpoint,
    span,
    write_json,
)
from graphfew.runs.evaluation import EvaluationRow, column_widths, evaluate_model, in_mode, report
from graphfew.serialization import checkpoint


def evaluate(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Files, or run folders (then their best).")
    ],
    data: Annotated[str, typer.Option(help="A data set of `graphfew data`.")],
    split: Annotated[str, typer.Option()] = "test",
    root: Annotated[str | None, typer.Option(help="The folder of the data's archives.")] = None,
    way: Annotated[str, typer.Option(help="Classes per task, or a range.")] = "5",
    shot: Annotated[str, typer.Option(help="Labeled items per class, or a range.")] = "1",
    query: Annotated[
        list[str] | None,
        typer.Option(
            help="Queries: 5 (per class), 1-15, multinomial:25, dirichlet:75:2.0, single, single-class:75, one-per-class, "  # noqa: E501
            "varied:1-75, or a mixture joined by +; give several for several rows.",
            show_default="5",
        ),
    ] = None,
    unlabeled: Annotated[str, typer.Option(help="Unlabeled items per class, or a range.")] = "0",
    labeled_ratio: Annotated[
        str, typer.Option(help="Share of the shots that keep their label.")
    ] = "1",
    distractors: Annotated[
        str, typer.Option(help="Other classes among the unlabeled items, or a range.")
    ] = "0",
    labeled_only: Annotated[
        bool, typer.Option("--labeled-only", help="Drop unlabeled items.")
    ] = False,
    within_groups: Annotated[
        bool, typer.Option("--within-groups", help="All classes of a task from one group.")
    ] = False,
    tasks: Annotated[int, typer.Option(help="Number of tasks.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the tasks.")] = 0,
    batch: Annotated[int, typer.Option(help="Tasks encoded together.")] = 16,
    transductive: Annotated[
        bool | None, typer.Option("--transductive/--inductive", show_default="as it was trained")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every task's accuracy to this JSON file.")
    ] = None,
    device: Annotated[str, typer.Option()] = "cpu",
) -> None:
    """Accuracy of checkpoints over tasks, all on the same ones, with 95 % intervals.

    Each checkpoint's difference to the first is paired by task.
    """
    with one_line():
        if out is not None and out.is_dir():
            raise ValueError(f"{out} is a folder; give a file for the results")
        files = [resolve_checkpoint(path) for path in checkpoints]
        place = find_device(device)
        models = [
            in_mode(checkpoint.load(file, device=place), transductive, unlabeled=not labeled_only)
            for file in files
        ]
        source = load_split(data, split, root)
        draws = [
            Tasks(
                source,
                way=span("way", way),
                shot=span("shot", shot),
                query=parse_queries(text),
                seed=seed,
                unlabeled=span("unlabeled", unlabeled),
                labeled_ratio=ratios(labeled_ratio),
                distractors=span("distractors", distractors),
                within_groups=within_groups,
            )
            for text in query or ["5"]
        ]
        shown = console.console()
        with console.counting(shown, len(draws) * len(models) * tasks) as show:
            rows = list(
                evaluate_model(
                    list(zip(map(label, files), models, strict=True)), draws, tasks, batch, show
                )
            )
        shown.print(_table(rows))
        if out is not None:
            write_json(out, report(column_widths(sys.argv[1:]), rows))


def _table(rows: Sequence[EvaluationRow]) -> Table:
    drawn = rows[0].result.tasks
    table = Table(
        title=f"{drawn['data']}/{drawn['split']}, {drawn['way']}-way {drawn['shot']}-shot: "
        "accuracy in %, 95 % intervals over tasks"
    )
    columns = ["checkpoint", "method", "mode", "queries", "tasks", "decisions", "accuracy"]
    paired = any(row.comparison for row in rows)
    for name in [*columns, *(["difference to the first"] if paired else [])]:
        table.add_column(name, justify="right" if name in columns[4:] else "left")
    for row in rows:
        result, gap = row.result, str(row.comparison or "")
        cells = (
            row.name,
            result.model["method"],
            result.mode,
            result.tasks["query"],
            len(result.per_task),
            row.decisions,
            f"{100 * result.mean:.2f} ± {100 * result.half_width:.2f}",
        )
        table.add_row(*map(str, cells), *([gap] if paired else []))
    return table
