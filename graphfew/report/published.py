"""All published figures of a benchmark, and what keeps each from being compared with ours."""

from __future__ import annotations

from collections.abc import Sequence

from graphfew.bench import Figure
from graphfew.report.beside import Beside, beside
from graphfew.report.cells import Cell
from graphfew.report.grid import LOUD
from graphfew.report.html import Markup, fold, heads, scroll, tag
from graphfew.report.tables import accuracy

NOTE = ("A difference is shown only where nothing that moves accuracy differs: backbone, mode, batch norm, how queries "
        "are drawn (for what looks at other queries), split, what is assumed. Tags: C code or logs, P the paper, R a "
        "README or another paper's table, M from memory and not checked.")
HEADS = ("published", "task", "accuracy in %", "ours", "difference, or what forbids it", "source", "notes")


def published(cells: Sequence[Cell], figures: Sequence[Figure], name: str) -> Markup | None:
    """All published figures of a benchmark, each with what differs from ours."""
    own = [figure for figure in figures if figure.benchmark == name]
    if not own:
        return None
    found: dict[Figure, list[tuple[Cell, Beside]]] = {}
    for cell in cells:
        for pair in beside(cell, own):
            found.setdefault(pair.figure, []).append((cell, pair))
    met = [row for figure in own if figure in found for row in _published_rows(figure, found[figure])]
    others = [tag("tr", *_figure_cells(figure), tag("td", "–"), tag("td", "no such row here"), *_source_cells(figure))
              for figure in own if figure not in found]
    first = _table(met, "Published figures") if met else None
    second = fold(f"{len(others)} more, of methods or tasks that are not here",
                  _table(others, "Other published figures")) if others else None
    return fold(f"Published figures ({len(own)}) and what they hang on", tag("p", NOTE), first, second)


def _table(rows: Sequence[Markup], label: str) -> Markup:
    return scroll(tag("table", tag("thead", heads(*HEADS)), tag("tbody", *rows), class_="wide"), label)


def _published_rows(figure: Figure, found: Sequence[tuple[Cell, Beside]]) -> list[Markup]:
    rows = []
    for cell, pair in found:
        told: Markup | str = f"{pair.gap:+.2f} points" if pair.gap is not None else tag(
            "span", tag("span", LOUD, class_="loud"), " ", "; ".join(pair.moving))
        rest = [text for text in pair.differences if text not in pair.moving]
        also = tag("span", f"also: {'; '.join(rest)}", class_="small quiet") if rest else None
        rows.append(tag("tr", *_figure_cells(figure), tag("td", f"{accuracy(cell)}", tag(
            "span", str(cell.who), class_="small quiet")), tag("td", told, also), *_source_cells(figure)))
    return rows


def _figure_cells(figure: Figure) -> tuple[Markup, ...]:
    parts = [figure.backbone, figure.mode, *([f"{figure.tasks:,} tasks"] if figure.tasks else ["tasks not known"]),
             f"queries: {figure.query}"]
    return (tag("th", figure.label, tag("span", ", ".join(parts), class_="small quiet"), scope="row"),
            tag("td", f"{figure.way}-way {figure.shot}-shot"), tag("td", str(figure)))


def _source_cells(figure: Figure) -> tuple[Markup, ...]:
    notes = "; ".join([*figure.unlike, *([figure.caveat] if figure.caveat else [])])
    return tag("td", f"{figure.source} [{figure.tag}]"), tag("td", notes or "–", class_="text")
