"""The results table of README: some methods on some benchmarks, from the records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.method_tables import markdown, percent
from graphfew.benchmark import report

INDUCTIVE, TRANSDUCTIVE = "inductive", "transductive"


@dataclasses.dataclass(frozen=True)
class Column:
    """The tasks of one column.

    Attributes:
        title: the column's header.
        benchmark: name of the benchmark.
        tasks: task settings that a result must have; None means that the setting is absent.
    """

    title: str
    benchmark: str
    tasks: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Line:
    """A method in one mode, with its row in each benchmark that has it."""

    method: str
    mode: str
    rows: Mapping[str, str]


COLUMNS = (
    Column(
        "Omniglot, 20-way 1-shot",
        "omniglot",
        {"way": 20, "shot": 1, "query": "balanced(5)", "labeled_ratio": None},
    ),
    Column(
        "CIFAR-FS, 5-way 1-shot",
        "cifar-fs",
        {"way": 5, "shot": 1, "query": "balanced(15)", "labeled_ratio": None},
    ),
    Column(
        "CIFAR-FS, 5-way 5-shot",
        "cifar-fs",
        {"way": 5, "shot": 5, "query": "balanced(15)", "labeled_ratio": None},
    ),
    Column(
        "CLINC150, 5-way 1-shot",
        "clinc150",
        {"way": 5, "shot": 1, "query": "balanced(15)"},
    ),
    Column("CLINC150, 150-way 1-shot", "clinc150", {"way": 150, "shot": 1}),
)
LINES = (
    Line(
        "prototypes (nearest class mean)",
        INDUCTIVE,
        {
            "omniglot": "prototypical",
            "cifar-fs": "nearest mean, mirrored",
            "clinc150": "nearest class mean",
        },
    ),
    Line("GNN", INDUCTIVE, {"omniglot": "gnn", "cifar-fs": "gnn"}),
    Line("EGNN", INDUCTIVE, {"omniglot": "egnn", "cifar-fs": "egnn"}),
    Line("GNN", TRANSDUCTIVE, {"omniglot": "gnn", "cifar-fs": "gnn"}),
    Line("EGNN", TRANSDUCTIVE, {"omniglot": "egnn", "cifar-fs": "egnn"}),
    Line(
        "propagated prototypes",
        TRANSDUCTIVE,
        {
            "omniglot": "propagated prototypes",
            "cifar-fs": "propagated prototypes, mirrored",
            "clinc150": "propagated prototypes",
        },
    ),
)


def summary(benchmarks: Sequence[report.BenchmarkResults]) -> str:
    """Render the table of README.

    Raises:
        KeyError: a benchmark does not have exactly one result of a row in a column.
    """
    by_name = {benchmark.name: benchmark for benchmark in benchmarks}
    rows = []
    for line in LINES:
        cells = [_accuracy(by_name, line, column) for column in COLUMNS]
        rows.append([line.method, line.mode, *cells])
    return markdown(["method", "mode", *[column.title for column in COLUMNS]], rows)


def _accuracy(benchmarks: Mapping[str, report.BenchmarkResults], line: Line, column: Column) -> str:
    """`mean ± half width` in percent, or a dash if the benchmark has no row of the method."""
    if column.benchmark not in line.rows:
        return "–"
    row = line.rows[column.benchmark]
    matches = [
        result
        for result in benchmarks[column.benchmark].results
        if result.key.row == row
        and str(result.key.mode) == line.mode
        and _matches(result.task_settings, column.tasks)
    ]
    if not matches:
        return "–"
    if len(matches) > 1:
        raise KeyError(
            f"{column.benchmark} has {len(matches)} results of {row!r} for {column.title!r}"
        )
    result = matches[0].average.result
    return percent({"mean": result.mean, "half_width": result.half_width})


def _matches(settings: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    return all(settings.get(name) == value for name, value in wanted.items())
