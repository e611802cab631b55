"""Benchmark records for the tables of the documentation."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import graphfew as gf
from graphfew.benchmark import read_published_results, report

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@functools.cache
def load_report() -> report.BenchmarkReport:
    """Return all benchmarks that have results, with titles and published numbers."""
    published = read_published_results(BENCHMARKS / "published.toml")
    return report.collect_report(BENCHMARKS / "results", published, BENCHMARKS / "specs")


def benchmark(name: str) -> report.BenchmarkResults:
    """Return the results of one benchmark.

    Raises:
        KeyError: if the benchmark has no results.
    """
    benchmarks = {results.name: results for results in load_report().benchmarks}
    if name not in benchmarks:
        raise KeyError(f"benchmark {name!r} has no results; expected one of {[*benchmarks]}")
    return benchmarks[name]


def cell(name: str, row: str, mode: str, **task_settings: object) -> report.AggregatedResult:
    """Return the only result of a row in one mode on tasks with these settings.

    Settings that are not given may have any value, as long as a single result matches.

    Raises:
        KeyError: if no result or several results match.
    """
    matches = [
        result
        for result in benchmark(name).results
        if result.key.row == row
        and result.key.mode == mode
        and _has_settings(result.task_settings, task_settings)
    ]
    if len(matches) != 1:
        raise KeyError(
            f"{name} has {len(matches)} results of {row!r}, {mode}, {task_settings}; one is needed"
        )
    return matches[0]


def difference(a: report.AggregatedResult, b: report.AggregatedResult) -> str:
    """Format the difference from `b` to `a` in points, such as `+1.23 ± 0.45`.

    The interval is that of the paired difference; it is omitted if the tasks differ.
    """
    first, second = a.average.result, b.average.result
    if first.tasks == second.tasks and len(first.per_task) == len(second.per_task):
        comparison = gf.compare_results(first, second)
        return f"{signed(100 * comparison.difference)} ± {100 * comparison.half_width:.2f}"
    return signed(100 * (first.mean - second.mean))


def signed(points: float) -> str:
    """Format a number with its sign, using the typographic minus."""
    return f"{points:+.2f}".replace("-", "\N{MINUS SIGN}")


def percent(mean: float, half_width: float) -> str:
    """Format a mean and its interval in percent, such as `98.67 ± 0.18`."""
    return f"{100 * mean:.2f} ± {100 * half_width:.2f}"


def accuracy(result: report.AggregatedResult) -> str:
    """Format the mean accuracy and its interval in percent."""
    return percent(result.average.result.mean, result.average.result.half_width)


def of_method(method: str) -> Iterator[tuple[str, tuple[report.ResultTable, ...]]]:
    """Yield the title and the tables of each benchmark that includes a method.

    The tables are restricted to the rows of the method and the columns that have a value.
    """
    specs = load_report().specs
    for results in load_report().benchmarks:
        rows = {result.key.row for result in results.results if result.method == method}
        if not rows:
            continue
        selected = [_select_rows(table, rows) for table in _tables(results.name)]
        tables = tuple(table for table in selected if table.rows)
        if tables:
            yield str(specs[results.name].get("title", results.name)), tables


@functools.cache
def _tables(name: str) -> tuple[report.ResultTable, ...]:
    return report.make_tables(benchmark(name), load_report().published)


def _select_rows(table: report.ResultTable, names: set[str]) -> report.ResultTable:
    rows = [row for row in table.rows if row.name in names]
    columns = [i for i in range(len(table.columns)) if any(row.cells[i].result for row in rows)]
    selected = tuple(
        dataclasses.replace(row, cells=tuple(row.cells[i] for i in columns)) for row in rows
    )
    titles = tuple(table.columns[i] for i in columns)
    return dataclasses.replace(table, columns=titles, rows=selected)


def _has_settings(settings: Mapping[str, object], expected: Mapping[str, object]) -> bool:
    return all(settings.get(key) == value for key, value in expected.items())
