"""The records of benchmarks, as the documentation asks for them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import graphfew as gf
from graphfew.benchmark import read_published_results, report

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "benchmarks"


@functools.cache
def everything() -> report.BenchmarkReport:
    """All benchmarks that have results, with titles and published figures."""
    return report.collect_report(
        PLACE / "results", read_published_results(PLACE / "published.toml"), PLACE / "specs"
    )


def benchmark(name: str) -> report.BenchmarkResults:
    """The benchmark of that name. Raises KeyError where it has no results."""
    found = {b.name: b for b in everything().benchmarks}
    if name not in found:
        raise KeyError(f"no results of a benchmark {name!r}; there are: {', '.join(found)}")
    return found[name]


def cell(name: str, row: str, mode: str, **draw: object) -> report.AggregatedResult:
    """The one figure of a benchmark's row, in a mode, on the tasks that `draw` describes.

    What `draw` does not name may be anything, but there must be one such cell alone.

    Raises:
        KeyError: there is no such cell, or there are several.
    """
    found = [
        c
        for c in benchmark(name).results
        if c.key.row == row and c.key.mode == mode and _fits(c.task_settings, draw)
    ]
    if len(found) != 1:
        raise KeyError(f"{name} has {len(found)} figures of {row!r}, {mode}, {draw}; one is needed")
    return found[0]


def difference(a: report.AggregatedResult, b: report.AggregatedResult) -> str:
    """`+1.23 ± 0.45` points, of a to b, paired by task where the tasks are the same; else without an interval."""
    ours, theirs = a.average.result, b.average.result
    if ours.tasks == theirs.tasks and len(ours.per_task) == len(theirs.per_task):
        gap = gf.compare_results(ours, theirs)
        return f"{signed(100 * gap.difference)} ± {100 * gap.half_width:.2f}"
    return signed(100 * (ours.mean - theirs.mean))


def signed(points: float) -> str:
    """A number with its sign, a true minus among them."""
    return f"{points:+.2f}".replace("-", "\N{MINUS SIGN}")


def percent(mean: float, half: float) -> str:
    """`98.67 ± 0.18`."""
    return f"{100 * mean:.2f} ± {100 * half:.2f}"


def accuracy(c: report.AggregatedResult) -> str:
    """A cell's mean and half width in per cent."""
    return percent(c.average.result.mean, c.average.result.half_width)


def of_method(method: str) -> Iterator[tuple[str, tuple[report.ResultTable, ...]]]:
    """For each benchmark, by its title: the tables' rows that are of this method, and the columns that they fill."""
    whole = everything()
    for b in whole.benchmarks:
        rows = {c.key.row for c in b.results if c.method == method}
        tables = (_cut(table, rows) for table in _tables(b.name)) if rows else ()
        kept = tuple(table for table in tables if table.rows)
        if kept:
            yield whole.titles[b.name].title, kept


@functools.cache
def _tables(name: str) -> tuple[report.ResultTable, ...]:
    return report.make_tables(benchmark(name), everything().published)


def _cut(table: report.ResultTable, rows: set[str]) -> report.ResultTable:
    lines = [line for line in table.rows if line.name in rows]
    keep = [i for i in range(len(table.columns)) if any(line.cells[i].result for line in lines)]
    return dataclasses.replace(
        table,
        columns=tuple(table.columns[i] for i in keep),
        rows=tuple(
            dataclasses.replace(line, cells=tuple(line.cells[i] for i in keep)) for line in lines
        ),
    )


def _fits(drawn: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    return all(drawn.get(key) == value for key, value in wanted.items())
