"""Every row against every other on the same tasks, as tables of differences."""

from __future__ import annotations

from collections.abc import Sequence

from graphfew.benchmark import holm, marks, pairwise
from graphfew.benchmark.report.aggregation import Cell, Who
from graphfew.benchmark.report.formatting import accuracy, signed
from graphfew.benchmark.report.html import Markup, fold, join, scroll, tag
from graphfew.benchmark.report.html_table import heading
from graphfew.benchmark.report.result_tables import Column, columns, usual
from graphfew.benchmark.statistics import LEVEL
from graphfew.evaluation.comparison import compare_results

DIFFERS = "≠"


NOTE = (
    "In points, paired by task; bold with ▲ or ▼: significant at 5 % after Holm's correction over all comparisons "
    f"of the {{}}. {DIFFERS}: the two were asked or told different things (mode, batch norm, what is assumed), so "
    "that the difference is not one of methods alone."
)


def against(cells: Sequence[Cell], row: str | None = None) -> Markup | None:
    """Every row's difference to one of them on the same tasks, with its 95 % half width.

    Args:
        row: the name of the one; the first where None or not there. Where it has several modes, the inductive one.
    """
    row = row if any(cell.who.row == row for cell in cells) else cells[0].who.row
    own = {cell.who for cell in cells if cell.who.row == row}
    reference = min(own, key=lambda who: (who.family != "inductive", who))
    kinds = columns([cell for cell in cells if cell.who == reference])
    found = [
        _differences([cell for cell in cells if cell.draw == column.draw], reference)
        for column in kinds
    ]
    whos = dict.fromkeys(cell.who for cell in cells if any(cell.who in own for own in found))
    if not whos:
        return None
    head = tag("tr", tag("th", f"minus {reference}", scope="col"), *map(heading, kinds))
    body = [
        tag(
            "tr",
            tag("th", str(who), scope="row"),
            *(own.get(who, tag("td", "–", class_="none")) for own in found),
        )
        for who in whos
    ]
    return fold(
        f"Differences to {reference}",
        tag("p", NOTE.format("column")),
        scroll(
            tag("table", tag("thead", head), tag("tbody", *body)), f"Differences to {reference}"
        ),
    )


def _differences(cells: Sequence[Cell], reference: Who) -> dict[Who, Markup]:
    base = next(cell for cell in cells if cell.who == reference)
    own = [cell for cell in cells if cell.who != reference and cell.which == base.which]
    pairs = [compare_results(cell.over.result, base.over.result) for cell in own]
    adjusted = holm([pair.p_value for pair in pairs])
    return {
        cell.who: _gap(
            100 * pair.difference,
            p < LEVEL,
            marks(base.records[0], cell.records[0]),
            f"{cell.who} against {reference}: p = {p:.2g}",
            100 * pair.half_width,
        )
        for cell, pair, p in zip(own, pairs, adjusted, strict=True)
    }


def matrices(cells: Sequence[Cell]) -> Markup:
    """For each kind of tasks, every two rows on the same tasks: difference and significance."""
    parts = [
        fold(
            f"{column.title}; {column.counts}",
            _matrix(column, [cell for cell in cells if cell.draw == column.draw]),
        )
        for column in columns(cells)
    ]
    return fold(
        "Which differences stand: every row against every other on the same tasks",
        tag("p", f"Row minus column. {NOTE.format('table')}"),
        *parts,
    )


def _matrix(column: Column, cells: Sequence[Cell]) -> Markup:
    most = usual(cells)
    own = sorted(
        (cell for cell in cells if cell.which == most), key=lambda cell: -cell.over.result.mean
    )
    pairs = {(pair.a, pair.b): pair for pair in pairwise([cell.over.result for cell in own])}
    head = tag(
        "tr",
        tag("th", "accuracy in %", scope="col"),
        *(
            tag("th", tag("abbr", str(i + 1), title=str(cell.who)), scope="col")
            for i, cell in enumerate(own)
        ),
    )
    rows = []
    for a, cell in enumerate(own):
        row = [
            tag(
                "th",
                f"{a + 1}. {cell.who}",
                tag("span", accuracy(cell), class_="small quiet"),
                scope="row",
            )
        ]
        for b, other in enumerate(own):
            pair = pairs.get((min(a, b), max(a, b)))
            if pair is None:
                row.append(tag("td", "·", class_="none"))
                continue
            gap = 100 * pair.comparison.difference * (1 if a < b else -1)
            unlike = marks(cell.records[0], other.records[0])
            row.append(
                _gap(
                    gap,
                    pair.significant,
                    unlike,
                    f"{cell.who} against {other.who}: p = {pair.adjusted:.2g}",
                )
            )
        rows.append(tag("tr", *row))
    left = len(cells) - len(own)
    note = (
        tag("p", f"{left} rows of other tasks are left out: no difference to them means anything.")
        if left
        else ""
    )
    return join(
        [
            scroll(
                tag("table", tag("thead", head), tag("tbody", *rows), class_="matrix"),
                f"Differences, {column.title}",
            ),
            note,
        ]
    )


def _gap(
    gap: float, significant: bool, unlike: tuple[str, ...], told: str, half: float | None = None
) -> Markup:
    sign = tag("span", f" {DIFFERS}", class_="quiet") if unlike else None
    kind = ("up" if gap > 0 else "down") if significant else None
    text = signed(gap) if half is None else f"{signed(gap, 2)} ± {half:.2f}"
    text = f"{'▲' if gap > 0 else '▼'} {text}" if significant else text
    return tag(
        "td",
        tag("strong", text) if significant else text,
        sign,
        class_=kind,
        title=told + (f"; {'; '.join(unlike)}" if unlike else ""),
    )
