"""All published figures of a benchmark, and what keeps each from being compared with ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from graphfew.benchmark import Figure
from graphfew.benchmark.protocol import query_name, query_words
from graphfew.benchmark.report.aggregation import Cell
from graphfew.benchmark.report.formatting import accuracy, signed
from graphfew.benchmark.report.html import Markup, fold, heads, scroll, tag
from graphfew.benchmark.report.html_table import LOUD
from graphfew.benchmark.report.published_comparison import Beside, beside

NOTE = (
    "A difference is shown only where nothing that moves accuracy differs: backbone, mode, batch norm, how queries "
    "are drawn (for what looks at other queries), split, what is assumed. Tags: C code or logs, P the paper, R a "
    "README or another paper's table, M from memory and not checked."
)
HEADS = ("published", "accuracy in %", "what differs", "source", "notes")


@dataclasses.dataclass(frozen=True)
class Row:
    """What figures of one source on several kinds of tasks have in common, so that they stand in one row.

    Shapes:
        figure: any of them, without what differs among them.
        who: our row beside them; empty where there is none.
        moving, rest: what differs, and moves accuracy or does not.
    """

    figure: Figure
    who: str = ""
    moving: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


def published(cells: Sequence[Cell], figures: Sequence[Figure], name: str) -> Markup | None:
    """All published figures of a benchmark, each with ours and what differs."""
    own = [figure for figure in figures if figure.benchmark == name]
    if not own:
        return None
    pairs: dict[Figure, list[tuple[Cell, Beside]]] = {}
    for cell in cells:
        for pair in beside(cell, own):
            pairs.setdefault(pair.figure, []).append((cell, pair))
    met: dict[Row, list[str]] = {}
    others: dict[Row, list[str]] = {}
    for figure in own:
        for cell, pair in pairs.get(figure, []):
            rest = tuple(text for text in pair.differences if text not in pair.moving)
            met.setdefault(Row(_common(figure), str(cell.who), pair.moving, rest), []).append(
                _both(cell, pair)
            )
        if figure not in pairs:
            others.setdefault(Row(_common(figure)), []).append(f"{_task(figure)}: {figure}")
    first = _table(met, "Published figures") if met else None
    second = (
        fold(
            f"{sum(map(len, others.values()))} more, of methods or tasks that are not here",
            _table(others, "Other published figures"),
        )
        if others
        else None
    )
    return fold(
        f"Published figures ({len(own)}) and what they hang on", tag("p", NOTE), first, second
    )


def _table(rows: Mapping[Row, Sequence[str]], label: str) -> Markup:
    body = [
        tag(
            "tr",
            _label(row),
            tag("td", *(tag("span", line, class_="line") for line in lines)),
            _told(row),
            tag("td", f"{row.figure.source} [{row.figure.tag}]"),
            tag("td", _notes(row), class_="text"),
        )
        for row, lines in rows.items()
    ]
    return scroll(
        tag("table", tag("thead", heads(*HEADS)), tag("tbody", *body), class_="wide"), label
    )


def _label(row: Row) -> Markup:
    figure = row.figure
    tasks = f"{figure.tasks:,} tasks" if figure.tasks else "tasks not known"
    facts = f"{figure.backbone}, {figure.mode}, {tasks}, {query_words(query_name(figure.query))}"
    ours = tag("span", f"beside ours: {row.who}", class_="small") if row.who else None
    return tag("th", figure.label, tag("span", facts, class_="small quiet"), ours, scope="row")


def _told(row: Row) -> Markup:
    if not row.who:
        return tag("td", "no such row here", class_="none")
    loud = [
        tag("span", tag("span", LOUD, class_="loud"), f" {text}", class_="line")
        for text in row.moving
    ]
    also = (
        tag("span", f"also, but without weight: {'; '.join(row.rest)}", class_="small quiet")
        if row.rest
        else None
    )
    return tag(
        "td",
        *(loud or [tag("span", "nothing that moves accuracy", class_="line")]),
        also,
        class_="text",
    )


def _both(cell: Cell, pair: Beside) -> str:
    gap = f", {signed(pair.gap, 2)} points" if pair.gap is not None else ""
    return f"{_task(pair.figure)}: {pair.figure}, ours {accuracy(cell)}{gap}"


def _task(figure: Figure) -> str:
    parts = [f"{figure.way}-way {figure.shot}-shot"]
    if figure.labeled_ratio != 1:
        parts.append(f"{100 * figure.labeled_ratio:g} % labeled")
    return ", ".join(parts)


def _notes(row: Row) -> str:
    unlike = (
        () if row.who else row.figure.unlike
    )  # where ours stands beside it, they are among what differs
    return "; ".join([*unlike, *([row.figure.caveat] if row.figure.caveat else [])]) or "–"


def _common(figure: Figure) -> Figure:
    return dataclasses.replace(
        figure, way=0, shot=0, value=0.0, interval=None, labeled_ratio=1.0, line=0
    )
