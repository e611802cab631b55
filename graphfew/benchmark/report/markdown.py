"""The same tables in Markdown, and their place in a README."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from graphfew.benchmark.report.formatting import accuracy, measured, seeds, signed
from graphfew.benchmark.report.result_tables import Column, Entry, Table

NOTE = (
    "Accuracy in %, mean ± half the 95 % t-interval over tasks (training seeds averaged task by task; sd: over "
    "seeds). **Bold**: not significantly below the best of its column (paired t-tests on the same tasks, Holm). "
    "‡: of other tasks than its column. Published: with the difference where the protocol is the same, ⚠ where it "
    "is not."
)


def markdown(tables: Sequence[Table]) -> str:
    """All tables of a benchmark with the notes that they need."""
    return "\n\n".join([NOTE, *map(titled, tables)]) + "\n"


def titled(table: Table) -> str:
    """One table under the name of its family of modes."""
    return f"**{escape(table.family.capitalize())}**\n\n{grid(table)}"


def grid(table: Table) -> str:
    """One table, all columns but the first aligned right."""
    head = ["", *map(_heading, table.columns)]
    rows = [[escape(line.name), *map(_entry, line.entries)] for line in table.lines]
    lines = [head, ["---"] + ["---:"] * len(table.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill(text: str, contents: Mapping[str, str]) -> str:
    """The text with what stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` replaced.

    Benchmarks without markers are left out.

    Raises:
        ValueError: no benchmark has its markers, or one lacks its end.
    """
    filled = 0
    for name, content in contents.items():
        begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
        if begin in text and end not in text[text.index(begin) :]:
            raise ValueError(f"the README has {begin} without {end} after it; add that line")
        pattern = re.compile(rf"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        parts = pattern.split(text)
        text = "".join(f"{content.strip()}\n" + part if part == end else part for part in parts)
        filled += len(parts) > 1
    if not filled:
        wanted = ", ".join(f"<!-- bench:{name} -->" for name in contents)
        raise ValueError(
            f"the README has none of {wanted}; put a line and its end <!-- /bench:NAME --> where a "
            "table belongs"
        )
    return text


def escape(text: str) -> str:
    """Text that no table or tag of Markdown is broken by."""
    return re.sub(r"([\\|<>*_`])", r"\\\1", " ".join(text.split()))


def _heading(column: Column) -> str:
    return "<br>".join([*map(escape, column.head), column.counts])


def _entry(entry: Entry) -> str:
    if entry.cell is None:
        return "–"
    value = f"**{accuracy(entry.cell)}**" if entry.best else accuracy(entry.cell)
    parts = [
        f"{value}{f' ‡ {entry.odd}' if entry.odd else ''}",
        seeds(entry.cell),
        escape(measured(entry.cell)),
    ]
    if entry.published:
        nearest = entry.published[0]
        told = "⚠" if nearest.gap is None else f"({signed(nearest.gap)})"
        parts.append(f"published {nearest.figure} {told}")
    return "<br>".join(part for part in parts if part)
