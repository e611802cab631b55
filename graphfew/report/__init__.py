"""The report of benchmarks: one page, the same tables in Markdown, pictures that need no network and no script."""

from graphfew.report.cells import Benchmark, Cell, Who, gather
from graphfew.report.episode import layers
from graphfew.report.html import Markup
from graphfew.report.markdown import NOTE, fill, markdown, titled
from graphfew.report.page import Report, collect, page
from graphfew.report.tables import Table, tables

__all__ = [
    "NOTE", "Benchmark", "Cell", "Markup", "Report", "Table", "Who", "collect", "fill", "gather", "layers", "markdown",
    "page", "tables", "titled",
]
