"""Tables in Markdown, and replacing them in a document."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from graphfew.benchmark.report.formatting import (
    format_accuracy,
    format_metrics,
    format_seeds,
    format_signed,
)
from graphfew.benchmark.report.result_tables import ResultTable, TableCell, TaskColumn
from graphfew.errors import InvalidInputError

NOTE = (
    "Accuracy in %, mean ± half of the 95 % t-interval over tasks (averaged over training seeds "
    "per task; sd: over seeds). **Bold**: not significantly below the best of its column (paired "
    "t-tests on the same tasks, Holm). ‡: evaluated on other tasks than its column. Published: "
    "with the difference if the protocol is the same, ⚠ if it is not."
)


def render_markdown(tables: Sequence[ResultTable]) -> str:
    """Return all tables of a benchmark with their notes."""
    return "\n\n".join([NOTE, *map(render_table, tables)]) + "\n"


def render_table(table: ResultTable) -> str:
    """Return a table under the name of its family of modes."""
    lines = [
        ["", *map(_heading, table.columns)],
        ["---"] + ["---:"] * len(table.columns),
        *([escape(row.name), *map(_cell, row.cells)] for row in table.rows),
    ]
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{escape(table.family.capitalize())}**\n\n{grid}"


def fill_markers(text: str, contents: Mapping[str, str]) -> str:
    """Replace the text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.

    Args:
        text: a document.
        contents: new content by name; names without markers are ignored.

    Raises:
        ValueError: no name has markers, or an end marker is missing.
    """
    n_filled = 0
    for name, content in contents.items():
        begin, end = f"<!-- bench:{name} -->\n", f"<!-- /bench:{name} -->"
        before, marker, rest = text.partition(begin)
        if not marker:
            continue
        _, end_marker, after = rest.partition(end)
        if not end_marker:
            raise InvalidInputError(f"{begin.strip()} is not followed by {end}; add that line")
        text = f"{before}{begin}{content.strip()}\n{end}{after}"
        n_filled += 1
    if not n_filled:
        wanted = ", ".join(f"<!-- bench:{name} -->" for name in contents)
        raise InvalidInputError(
            f"the document has none of {wanted}; add such a line, and <!-- /bench:NAME --> at the "
            "end of the table"
        )
    return text


def escape(text: str) -> str:
    """Return text without special characters of Markdown tables and tags."""
    # Names of rows come from specs and may contain any character.
    return re.sub(r"([\\|<>*_`])", r"\\\1", " ".join(text.split()))


def _heading(column: TaskColumn) -> str:
    return "<br>".join([*map(escape, column.head), column.counts])


def _cell(cell: TableCell) -> str:
    if cell.result is None:
        return "–"
    value = format_accuracy(cell.result)
    if cell.best:
        value = f"**{value}**"
    if cell.deviation:
        value += f" ‡ {cell.deviation}"
    parts = [value, format_seeds(cell.result), escape(format_metrics(cell.result))]
    if cell.published:
        # One line has room for the most comparable result; the page lists all of them.
        nearest = cell.published[0]
        comparison = "⚠" if nearest.gap is None else f"({format_signed(nearest.gap)})"
        parts.append(f"published {nearest.published} {comparison}")
    return "<br>".join(part for part in parts if part)
