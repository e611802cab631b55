"""A table of accuracies as HTML."""

from __future__ import annotations

from graphfew.benchmark.report.formatting import accuracy, measured, seeds, signed
from graphfew.benchmark.report.html import Markup, scroll, tag
from graphfew.benchmark.report.published_comparison import Beside
from graphfew.benchmark.report.result_tables import Column, Entry, Table

LOUD = "⚠"


def grid(table: Table) -> Markup:
    """A table of accuracies."""
    head = tag(
        "tr", tag("th", table.family.capitalize(), scope="col"), *map(heading, table.columns)
    )
    body = [
        tag("tr", tag("th", line.name, scope="row"), *map(_entry, line.entries))
        for line in table.lines
    ]
    return scroll(
        tag("table", tag("thead", head), tag("tbody", *body), class_="accuracy"),
        f"Accuracy, {table.family}",
    )


def heading(column: Column) -> Markup:
    """A column's heading: its tasks, how they are drawn, and how many."""
    lines = [tag("span", line, class_="small") for line in column.head[1:]]
    counts = tag("span", column.counts, class_="small quiet")
    return tag("th", column.head[0], *lines, counts, scope="col")


def _entry(entry: Entry) -> Markup:
    if entry.cell is None:
        return tag("td", "–", class_="none")
    value = tag("strong", accuracy(entry.cell)) if entry.best else tag("span", accuracy(entry.cell))
    odd = tag("span", f"‡ {entry.odd}", class_="small loud") if entry.odd else None
    seeded = seeds(entry.cell) + (
        f"; {entry.cell.left_out} left out, of other tasks" if entry.cell.left_out else ""
    )
    return tag(
        "td",
        value,
        odd,
        tag("span", seeded, class_="small quiet") if seeded else None,
        tag("span", measured(entry.cell), class_="small") if measured(entry.cell) else None,
        _nearest(entry.published[0]) if entry.published else None,
    )


def _nearest(pair: Beside) -> Markup:
    """The most comparable published figure; loud where no difference may be read off."""
    if pair.gap is not None:
        return tag(
            "span",
            f"published {pair.figure}, {signed(pair.gap)}",
            class_="small",
            title=pair.figure.source,
        )
    many = f"{len(pair.moving)} differ{'s' if len(pair.moving) == 1 else ''}"
    return tag(
        "span",
        f"published {pair.figure} ",
        tag("span", f"{LOUD} {many}", class_="loud"),
        class_="small",
        title=f"{pair.figure.source}: {'; '.join(pair.moving)}",
    )
