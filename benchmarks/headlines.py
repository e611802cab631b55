"""The README's short tables: some rows and columns of benchmarks that stand whole in `benchmarks/RESULTS.md`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from graphfew.benchmark import PublishedResult, report


@dataclasses.dataclass(frozen=True)
class Headline:
    """What of a benchmark the README shows.

    Shapes:
        rows: names of rows, in any family of modes.
        columns: what the tasks of a column must be described by; a column that lacks a key has None there.
    """

    rows: tuple[str, ...]
    columns: tuple[Mapping[str, object], ...]


def _tasks(
    ways: Sequence[int], shots: Sequence[int], **other: object
) -> tuple[Mapping[str, object], ...]:
    return tuple({"way": way, "shot": shot, **other} for way in ways for shot in shots)


HEADLINES = {
    "omniglot": Headline(
        (
            "prototypical",
            "prototypical, three encoders and two residual, 8 copies",
            "egnn",
            "gnn",
            "relation",
            "propagated prototypes, tuned, three encoders and two residual, 8 copies",
        ),
        _tasks((5, 20), (1, 5), query="balanced(5)", labeled_ratio=None),
    ),
    "cifar-fs": Headline(
        (
            "prototypical",
            "nearest mean, mirrored",
            "gnn",
            "egnn",
            "propagated prototypes, mirrored",
        ),
        (
            *_tasks((5,), (1, 5), query="balanced(15)", labeled_ratio=None),
            *_tasks((5,), (1, 5), query="dirichlet(2.0, 75)", labeled_ratio=None),
        ),
    ),
    "clinc150": Headline(
        (
            "nearest class mean",
            "linear head",
            "label propagation",
            "TIM",
            "PT-MAP",
            "PT-MAP, balanced",
            "propagated prototypes",
            "propagated prototypes, balanced",
        ),
        (
            *_tasks((5,), (1,), query="balanced(15)"),
            *_tasks((5,), (1,), query="dirichlet(2.0, 75)"),
            *_tasks((5,), (1,), query="single-class(75)"),
            *_tasks((150,), (1,)),
        ),
    ),
    "fewrel": Headline(
        ("prototypes", "prototypes, BiLSTM", "hybrid attention", "EGNN", "induction"),
        (
            *_tasks((5,), (1, 5, 10), label_noise=None),
            *_tasks((5,), (5, 10), label_noise=0.3),
            *_tasks((5,), (5, 10), label_noise=0.5),
        ),
    ),
}


def headlines(
    benchmarks: Sequence[report.BenchmarkResults], figures: Sequence[PublishedResult]
) -> dict[str, str]:
    """The short tables by name, for markers `<!-- bench:NAME-short -->`, and the notes that all need as `note`."""
    found = {b.name: b for b in benchmarks}
    parts = {
        name: [cut(table, wanted) for table in report.make_tables(found[name], figures)]
        for name, wanted in HEADLINES.items()
        if name in found
    }
    short = {
        f"{name}-short": "\n\n".join(report.render_table(t) for t in own if t.rows)
        for name, own in parts.items()
    }
    return {**short, "note": report.NOTE}


def cut(table: report.ResultTable, wanted: Headline) -> report.ResultTable:
    """The table with the wanted rows and columns alone; rows that have nothing in these columns are left out."""
    keep = [
        i
        for i, column in enumerate(table.columns)
        if any(_fits(column.tasks_json, c) for c in wanted.columns)
    ]
    lines = [
        dataclasses.replace(line, cells=tuple(line.cells[i] for i in keep))
        for line in table.rows
        if line.name in wanted.rows
    ]
    filled = tuple(line for line in lines if any(cell.result for cell in line.cells))
    return dataclasses.replace(table, columns=tuple(table.columns[i] for i in keep), rows=filled)


def _fits(draw: str, wanted: Mapping[str, object]) -> bool:
    drawn = json.loads(draw)
    return all(drawn.get(key) == value for key, value in wanted.items())
