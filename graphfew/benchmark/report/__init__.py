"""The report of benchmarks: one HTML page, and the same tables in Markdown.

Start reading at `page.render_page`.
"""

from graphfew.benchmark.report.aggregation import (
    AggregatedResult,
    BenchmarkResults,
    ResultKey,
    aggregate_results,
)
from graphfew.benchmark.report.episode_figure import plot_episode_layers
from graphfew.benchmark.report.markdown import NOTE, fill_markers, render_markdown, render_table
from graphfew.benchmark.report.page import BenchmarkReport, collect_report, render_page
from graphfew.benchmark.report.result_tables import ResultTable, make_tables

__all__ = [
    "NOTE",
    "AggregatedResult",
    "BenchmarkReport",
    "BenchmarkResults",
    "ResultKey",
    "ResultTable",
    "aggregate_results",
    "collect_report",
    "fill_markers",
    "make_tables",
    "plot_episode_layers",
    "render_markdown",
    "render_page",
    "render_table",
]
