"""The tables of a benchmark, one per evaluation mode, independent of their markup."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.protocol import query_name, query_phrase
from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.report.aggregation import AggregatedResult, BenchmarkResults
from graphfew.benchmark.report.formatting import format_count, format_range
from graphfew.benchmark.report.published_comparison import PublishedMatch, match_published
from graphfew.evaluation.significance import not_significantly_below_best

# Settings with a place of their own in a heading; any other is written out.
HEADING_SETTINGS = (
    *("data", "split", "way", "shot", "query", "within_groups"),
    *("unlabeled", "labeled_ratio", "distractors", "label_noise"),
)
QUERY_ORDER = (
    *("single", "one-per-class", "balanced", "multinomial"),
    *("dirichlet", "varied", "effective", "single-class"),
)


@dataclasses.dataclass(frozen=True)
class TaskColumn:
    """One kind of tasks.

    Attributes:
        tasks_json: the task settings without the seed.
        head: lines of the heading: way and shot, queries, other settings.
        n_tasks: number of tasks of most results of the column.
        queries: number of queries per task, as text.
    """

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
    families: dict[str, list[AggregatedResult]] = {}
    for result in benchmark.results:
        families.setdefault(result.key.family, []).append(result)
    order = sorted(families, key=lambda family: (family != "inductive", family))
    return tuple(_make_table(family, families[family], published) for family in order)


def task_columns(results: Sequence[AggregatedResult]) -> tuple[TaskColumn, ...]:
    """Return the kinds of tasks among results, by way, shot and queries."""
    by_tasks: dict[str, list[AggregatedResult]] = {}
    for result in results:
        by_tasks.setdefault(result.tasks_json, []).append(result)
    splits = {(r.task_settings.get("data"), r.task_settings.get("split")) for r in results}
    # A heading names the split only if columns differ in it.
    columns = [_make_column(group, show_split=len(splits) > 1) for group in by_tasks.values()]
    return tuple(sorted(columns, key=lambda column: _column_order(json.loads(column.tasks_json))))


def usual_tasks(results: Sequence[AggregatedResult]) -> str:
    """Return the identity of the tasks that most results of a column were evaluated on."""
    return Counter(result.task_identity for result in results).most_common(1)[0][0]


def _make_table(
    family: str, results: Sequence[AggregatedResult], published: Sequence[PublishedResult]
) -> ResultTable:
    columns = task_columns(results)
    names = dict.fromkeys(result.key.row for result in results)
    cells = [_make_cells(column, results, published) for column in columns]
    empty = TableCell()
    rows = [TableRow(name, tuple(column.get(name, empty) for column in cells)) for name in names]
    return ResultTable(family, columns, tuple(sorted(rows, key=_row_order)))


def _make_cells(
    column: TaskColumn,
    results: Sequence[AggregatedResult],
    published: Sequence[PublishedResult],
) -> dict[str, TableCell]:
    """The cells of a column by row."""
    group = {r.key.row: r for r in results if r.tasks_json == column.tasks_json}
    # Bold needs paired tests, so results on other tasks cannot be among the best.
    usual = usual_tasks(list(group.values()))
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


def _make_column(results: Sequence[AggregatedResult], *, show_split: bool) -> TaskColumn:
    usual = usual_tasks(results)
    result = next(result for result in results if result.task_identity == usual)
    settings = result.task_settings
    head: list[str] = []
    size = [
        f"{format_range(settings[name])}-{name}" for name in ("way", "shot") if name in settings
    ]
    if size:
        head.append(" ".join(size))
    if "query" in settings:
        head.append(query_phrase(query_name(str(settings["query"]))))
    if show_split:
        head.append(f"{settings.get('data')}/{settings.get('split')}")
    head += _special_settings(settings)
    if not head:
        head.append(str(settings.get("data")))
    queries = format_count(result.queries_per_task)
    return TaskColumn(result.tasks_json, tuple(head), result.n_tasks, queries)


def _special_settings(settings: Mapping[str, JSON]) -> list[str]:
    """Settings that are not the default, in words."""
    special: list[str] = []
    if settings.get("within_groups"):
        special.append("classes of one group")
    if settings.get("labeled_ratio") not in (None, 1.0):
        special.append(f"labels on {format_range(settings['labeled_ratio'])} of the shots")
    if settings.get("unlabeled") not in (None, 0):
        special.append(f"{format_range(settings['unlabeled'])} unlabeled per class")
    if settings.get("distractors"):
        special.append(f"{format_range(settings['distractors'])} distractor classes")
    if settings.get("label_noise"):
        special.append(f"label noise {format_range(settings['label_noise'])}")
    # Settings that are newer than this report must not be hidden.
    for name, value in settings.items():
        if name not in HEADING_SETTINGS:
            special.append(f"{name.replace('_', ' ')}: {format_range(value)}")
    return special


def _column_order(settings: Mapping[str, JSON]) -> tuple[object, ...]:
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
        json.dumps(dict(settings), sort_keys=True),
    )


def _lowest(value: object) -> float:
    if isinstance(value, list):
        value = value[0]
    return float(value) if isinstance(value, int | float) else 0.0
