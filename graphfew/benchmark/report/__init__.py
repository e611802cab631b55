"""The report of benchmarks: one page, the same tables in Markdown, pictures that need no network and no script."""

from graphfew.benchmark.report.aggregation import Benchmark, Cell, Who, gather
from graphfew.benchmark.report.episode_figure import layers
from graphfew.benchmark.report.html import Markup
from graphfew.benchmark.report.markdown import NOTE, fill, markdown, titled
from graphfew.benchmark.report.page import Report, collect, page
from graphfew.benchmark.report.result_tables import Table, tables

__all__ = [
    "NOTE",
    "Benchmark",
    "Cell",
    "Markup",
    "Report",
    "Table",
    "Who",
    "collect",
    "fill",
    "gather",
    "layers",
    "markdown",
    "page",
    "tables",
    "titled",
]
