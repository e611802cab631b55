"""Tables in Markdown, and replacing them in a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphfew.benchmark.report.formatting import make_environment
from graphfew.benchmark.report.result_tables import ResultTable
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
    return make_environment().get_template("table.md").render(table=table).strip()


def fill_markers(text: str, contents: Mapping[str, str]) -> str:
    """Replace the text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.

    Names without markers are ignored, but one must have them.
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
