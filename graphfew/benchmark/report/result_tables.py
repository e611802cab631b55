"""The tables of a benchmark, one per evaluation mode, independent of their markup."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.protocol import query_name, query_phrase
from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.report.aggregation import (
    AggregatedResult,
    BenchmarkResults,
    group_by,
    usual_tasks,
)
from graphfew.benchmark.report.formatting import format_count, format_range
from graphfew.benchmark.report.published_tables import PublishedMatch, match_published
from graphfew.evaluation import not_significantly_below_best

# Settings that a heading shows in a form of their own; any other is written out.
HEADING_SETTINGS = ("data", "split", "way", "shot", "query")
SETTING_PHRASES = {
    "within_groups": "classes of one group",
    "labeled_ratio": "labels on {} of the shots",
    "unlabeled": "{} unlabeled per class",
    "distractors": "{} distractor classes",
    "label_noise": "label noise {}",
}
QUERY_ORDER = (
    *("single", "one-per-class", "balanced", "multinomial"),
    *("dirichlet", "varied", "single-class"),
)


@dataclasses.dataclass(frozen=True)
class TaskColumn:
    """One kind of tasks: lines of its heading, and the counts of most of its results."""

    tasks_json: str
    head: tuple[str, ...]
    n_tasks: int
    queries: str

    @property
    def title(self) -> str:
        """The heading in one line."""
        return ", ".join(self.head)

    @property
    def counts(self) -> str:
        """Number of tasks and queries in words."""
        return f"{self.n_tasks:,} tasks of {self.queries} queries"


@dataclasses.dataclass(frozen=True)
class TableCell:
    """One entry of a table.

    Attributes:
        result: None if the row was not evaluated on these tasks.
        best: not significantly below the best of its column.
        deviation: how its tasks differ from those of the column; empty if they do not.
        published: corresponding published results, the most comparable first.
    """

    result: AggregatedResult | None = None
    best: bool = False
    deviation: str = ""
    published: tuple[PublishedMatch, ...] = ()


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A method with one cell per column."""

    name: str
    cells: tuple[TableCell, ...]


@dataclasses.dataclass(frozen=True)
class ResultTable:
    """All rows of one family of modes."""

    family: str
    columns: tuple[TaskColumn, ...]
    rows: tuple[TableRow, ...]


def make_tables(
    benchmark: BenchmarkResults, published: Sequence[PublishedResult] = ()
) -> tuple[ResultTable, ...]:
    """Return a table per family, inductive first, then by name."""
    families = group_by(benchmark.results, lambda result: result.key.family)
    tables: list[ResultTable] = []
    for family in sorted(families, key=lambda family: (family != "inductive", family)):
        results = families[family]
        columns = task_columns(results)
        cells = [_make_cells(column, results, published) for column in columns]
        names = dict.fromkeys(result.key.row for result in results)
        rows = [TableRow(n, tuple(c.get(n, TableCell()) for c in cells)) for n in names]
        tables.append(ResultTable(family, columns, tuple(sorted(rows, key=_row_order))))
    return tuple(tables)


def task_columns(results: Sequence[AggregatedResult]) -> tuple[TaskColumn, ...]:
    """Return the kinds of tasks among results, by way, shot and queries."""
    columns = group_by(results, lambda result: result.tasks_json).values()
    splits = {(r.task_settings.get("data"), r.task_settings.get("split")) for r in results}
    made: list[TaskColumn] = []
    for group in sorted(columns, key=lambda group: _column_order(group[0])):
        usual = usual_tasks(group)
        result = next(result for result in group if result.task_identity == usual)
        # A heading names the split only if columns differ in it.
        head = _heading(result.task_settings, show_split=len(splits) > 1)
        queries = format_count(result.queries_per_task)
        made.append(TaskColumn(result.tasks_json, head, result.n_tasks, queries))
    return tuple(made)


def task_size(settings: Mapping[str, object]) -> str:
    """Return way and shot, as far as they are settings: "5-way 1-shot"."""
    sizes = [name for name in ("way", "shot") if name in settings]
    return " ".join(f"{format_range(settings[name])}-{name}" for name in sizes)


def _make_cells(
    column: TaskColumn, results: Sequence[AggregatedResult], published: Sequence[PublishedResult]
) -> dict[str, TableCell]:
    """The cells of a column by row."""
    group = {r.key.row: r for r in results if r.tasks_json == column.tasks_json}
    # Bold needs paired tests, so results on other tasks cannot be among the best.
    usual = usual_tasks(group.values())
    comparable = {row: r for row, r in group.items() if r.task_identity == usual}
    flags = not_significantly_below_best([r.average.result for r in comparable.values()])
    best = dict(zip(comparable, flags, strict=True))
    cells: dict[str, TableCell] = {}
    for row, result in group.items():
        deviation = ""
        if row not in comparable and result.n_tasks != column.n_tasks:
            deviation = f"{result.n_tasks:,} tasks"
        elif row not in comparable:
            deviation = "other tasks (another seed)"
        matches = match_published(result, published)
        cells[row] = TableCell(result, best.get(row, False), deviation, matches)
    return cells


def _row_order(row: TableRow) -> tuple[float, ...]:
    return tuple(-cell.result.average.result.mean if cell.result else 0.0 for cell in row.cells)


def _heading(settings: Mapping[str, JSON], *, show_split: bool) -> tuple[str, ...]:
    head = [task_size(settings)]
    if "query" in settings:
        head.append(query_phrase(query_name(str(settings["query"]))))
    if show_split:
        head.append(f"{settings.get('data')}/{settings.get('split')}")
    for name, phrase in SETTING_PHRASES.items():
        value = settings.get(name)
        is_default = not value or (name == "labeled_ratio" and value == 1.0)
        if not is_default:
            head.append(phrase.format(format_range(value)))
    # Settings that are newer than this report must not be hidden.
    for name, value in settings.items():
        if name not in (*HEADING_SETTINGS, *SETTING_PHRASES):
            head.append(f"{name.replace('_', ' ')}: {format_range(value)}")
    return tuple(filter(None, head)) or (str(settings.get("data")),)


def _column_order(result: AggregatedResult) -> tuple[object, ...]:
    settings = result.task_settings
    name = query_name(str(settings.get("query")))
    kind = name.split("(")[0]
    # The last number is that of queries; the others are parameters of the distribution.
    numbers = re.findall(r"\d+(?:\.\d+)?", name)
    return (
        str(settings.get("data")),
        str(settings.get("split")),
        _lowest(settings.get("way")),
        _lowest(settings.get("shot")),
        QUERY_ORDER.index(kind) if kind in QUERY_ORDER else len(QUERY_ORDER),
        float(numbers[-1]) if numbers else 0.0,
        result.tasks_json,
    )


def _lowest(value: object) -> float:
    if isinstance(value, list):
        value = value[0]
    return float(value) if isinstance(value, int | float) else 0.0
