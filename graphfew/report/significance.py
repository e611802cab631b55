"""Every row against every other on the same tasks, as tables of differences."""

from __future__ import annotations

from collections.abc import Sequence

from graphfew.bench import marks, pairwise
from graphfew.report.cells import Cell
from graphfew.report.html import Markup, fold, join, scroll, tag
from graphfew.report.tables import Column, accuracy, columns, signed, tasks_of, usual

DIFFERS = "≠"


def matrices(cells: Sequence[Cell]) -> Markup:
    """For each kind of tasks, every two rows on the same tasks: difference and significance."""
    parts = [fold(column.title, _matrix(column, [cell for cell in cells if cell.draw == column.draw]))
             for column in columns(cells)]
    return fold("Which differences stand: every row against every other on the same tasks", tag(
        "p", "Row minus column in points, paired by task; bold with ▲ or ▼: significant at 5 % after Holm's correction "
             f"over all pairs of the table. {DIFFERS}: the two were asked or told different things (mode, batch norm, "
             "what is assumed), so that the difference is not one of methods alone."), *parts)


def _matrix(column: Column, cells: Sequence[Cell]) -> Markup:
    most = usual(cells)
    own = sorted((cell for cell in cells if tasks_of(cell) == most), key=lambda cell: -cell.over.result.mean)
    pairs = {(pair.a, pair.b): pair for pair in pairwise([cell.over.result for cell in own])}
    head = tag("tr", tag("th", "accuracy in %", scope="col"),
               *(tag("th", tag("abbr", str(i + 1), title=str(cell.who)), scope="col") for i, cell in enumerate(own)))
    rows = []
    for a, cell in enumerate(own):
        row = [tag("th", f"{a + 1}. {cell.who}", tag("span", accuracy(cell), class_="small quiet"), scope="row")]
        for b, other in enumerate(own):
            pair = pairs.get((min(a, b), max(a, b)))
            if pair is None:
                row.append(tag("td", "·", class_="none"))
                continue
            gap = 100 * pair.comparison.difference * (1 if a < b else -1)
            unlike = marks(cell.records[0], other.records[0])
            row.append(_gap(gap, pair.significant, unlike, f"{cell.who} against {other.who}: p = {pair.adjusted:.2g}"))
        rows.append(tag("tr", *row))
    left = len(cells) - len(own)
    note = tag("p", f"{left} rows of other tasks are left out: no difference to them means anything.") if left else ""
    return join([scroll(tag("table", tag("thead", head), tag("tbody", *rows), class_="matrix"),
                        f"Differences, {column.title}"), note])


def _gap(gap: float, significant: bool, unlike: tuple[str, ...], told: str) -> Markup:
    sign = tag("span", f" {DIFFERS}", class_="quiet") if unlike else None
    kind = ("up" if gap > 0 else "down") if significant else None
    text = f"{'▲' if gap > 0 else '▼'} {signed(gap)}" if significant else signed(gap)
    return tag("td", tag("strong", text) if significant else text, sign, class_=kind,
               title=told + (f"; {'; '.join(unlike)}" if unlike else ""))
