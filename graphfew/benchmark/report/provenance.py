"""What the results cost, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from graphfew.benchmark import Record
from graphfew.benchmark.report.aggregation import Benchmark, Cell
from graphfew.benchmark.report.html import Markup, fold, heads, scroll, tag
from graphfew.benchmark.report.result_tables import columns


def costs(cells: Sequence[Cell]) -> Markup:
    """Tasks per second, training time and memory of each row, on its first kind of tasks."""
    first = _first(cells)
    rows = {name: _cost(cell) for name, cell in first.items()}
    most = [max(row[i] for row in rows.values()) for i in range(3)]
    told = {
        "machine": {name: cell.records[0].machine for name, cell in first.items()},
        "measured on": {name: _measured(cell) for name, cell in first.items()},
    }
    varied = {head: texts for head, texts in told.items() if len(set(texts.values())) > 1}
    same = "; ".join(
        next(iter(texts.values())) for head, texts in told.items() if head not in varied
    )
    head = heads(
        "row", "tasks evaluated per second", "training, seconds", "peak memory, MiB", *varied
    )
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(_bar(value, most[i]) for i, value in enumerate(row)),
            *(tag("td", texts[name]) for texts in varied.values()),
        )
        for name, row in sorted(rows.items(), key=lambda item: -item[1][0])
    ]
    note = (
        "As the runs met them, not a controlled measurement. Training: all trainings behind the row, mean over its "
        f"seeds.{f' {same}.' if same else ''}"
    )
    return fold(
        "Time and memory",
        tag("p", note),
        scroll(
            tag("table", tag("thead", head), tag("tbody", *body), class_="wide"), "Time and memory"
        ),
    )


def _first(cells: Sequence[Cell]) -> dict[str, Cell]:
    """Of each row its cell on the first kind of tasks that it has."""
    first: dict[str, Cell] = {}
    for column in columns(cells):
        for cell in cells:
            if cell.draw == column.draw:
                first.setdefault(str(cell.who), cell)
    return first


def _cost(cell: Cell) -> tuple[float, float, float]:
    """Tasks per second, seconds of training, MiB; 0 where not known."""
    return (
        mean(r.tasks_per_second for r in cell.records),
        mean(_training(r) for r in cell.records),
        max((r.peak_memory or 0) for r in cell.records) / 2**20,
    )


def provenance(benchmark: Benchmark) -> Markup:
    """Device, commit, spec, command and versions behind the figures, each with the number of records it made."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for cell in benchmark.cells:
        for record in cell.records:
            groups.setdefault(_origin(record), []).append(record)
    head = heads(
        "machine",
        "device",
        "commit",
        "spec",
        "command",
        "versions",
        "written",
        "records",
        "selected on",
    )
    body = [
        tag(
            "tr",
            *(tag("td", part) for part in origin),
            tag("td", _span([record.time for record in records])),
            tag("td", str(len(records))),
            tag("td", _chosen(records)),
        )
        for origin, records in groups.items()
    ]
    older = (
        f" {benchmark.superseded} earlier records of the same cells are in the file and superseded."
        if benchmark.superseded
        else ""
    )
    return fold(
        "How these were made",
        tag(
            "p",
            "A commit with + had changes in its working tree. Task seeds, method "
            f"arguments and every task's accuracy are in the results file.{older}",
        ),
        scroll(tag("table", tag("thead", head), tag("tbody", *body), class_="wide"), "Provenance"),
    )


def _bar(value: float, most: float) -> Markup:
    if value <= 0:
        return tag("td", "–", class_="none")
    text = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
    return tag("td", text, tag("span", class_="bar", style=f"width:{100 * value / most:.1f}%"))


def _measured(cell: Cell) -> str:
    column = columns([cell])[0]
    return f"{column.title}; {column.counts}"


def _training(record: Record) -> float:
    values = [part.get("seconds") for part in record.training]
    return sum(float(value) for value in values if isinstance(value, int | float))


def _origin(record: Record) -> tuple[str, ...]:
    versions: Mapping[str, object] = record.versions
    return (
        record.machine,
        record.result.device,
        (record.commit or "no repository")[:13],
        record.spec_hash[:12],
        record.command,
        ", ".join(f"{name} {value}" for name, value in versions.items()),
    )


def _chosen(records: Sequence[Record]) -> str:
    return ", ".join(
        sorted({str(record.result.model.get("selected_on") or "nothing") for record in records})
    )


def _span(times: Sequence[str]) -> str:
    low, high = min(times), max(times)
    return low if low == high else f"{low} to {high}"
