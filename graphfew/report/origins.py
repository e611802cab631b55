"""What the results cost, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from graphfew.bench import Record
from graphfew.report.cells import Benchmark, Cell
from graphfew.report.html import Markup, fold, heads, scroll, tag
from graphfew.report.tables import columns


def costs(cells: Sequence[Cell]) -> Markup:
    """Tasks per second, training time and memory of each row, on its first kind of tasks."""
    first: dict[str, Cell] = {}
    for column in columns(cells):
        for cell in cells:
            if cell.draw == column.draw:
                first.setdefault(str(cell.who), cell)
    rows = {name: (mean(r.tasks_per_second for r in cell.records), mean(_training(r) for r in cell.records),
                   max((r.peak_memory or 0) for r in cell.records) / 2**20) for name, cell in first.items()}
    most = [max(row[i] for row in rows.values()) for i in range(3)]
    machines = sorted({record.machine for cell in first.values() for record in cell.records})
    head = heads("row", "tasks evaluated per second", "training, seconds", "peak memory, MiB", "measured on",
                 *(["machine"] if len(machines) > 1 else []))
    body = [tag("tr", tag("th", name, scope="row"), *(_bar(value, most[i]) for i, value in enumerate(row)),
                tag("td", _measured(first[name])),
                *([tag("td", first[name].records[0].machine)] if len(machines) > 1 else []))
            for name, row in sorted(rows.items(), key=lambda item: -item[1][0])]
    note = (f"As the runs met them, not a controlled measurement: {'; '.join(machines)}. Training: all trainings "
            "behind the row, mean over its seeds.")
    return fold("Time and memory", tag("p", note),
                scroll(tag("table", tag("thead", head), tag("tbody", *body), class_="wide"), "Time and memory"))


def provenance(benchmark: Benchmark) -> Markup:
    """Device, commit, spec, command and versions behind the figures, each with the number of records it made."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for cell in benchmark.cells:
        for record in cell.records:
            groups.setdefault(_origin(record), []).append(record)
    head = heads("machine", "device", "commit", "spec", "command", "versions", "written", "records", "selected on")
    body = [tag("tr", *(tag("td", part) for part in origin), tag("td", _span([record.time for record in records])),
                tag("td", str(len(records))), tag("td", _chosen(records))) for origin, records in groups.items()]
    older = (f" {benchmark.superseded} earlier records of the same cells are in the file and superseded."
             if benchmark.superseded else "")
    return fold("How these were made", tag("p", "A commit with + had changes in its working tree. Task seeds, method "
                                                f"arguments and every task's accuracy are in the results file.{older}"),
                scroll(tag("table", tag("thead", head), tag("tbody", *body), class_="wide"), "Provenance"))


def _bar(value: float, most: float) -> Markup:
    if value <= 0:
        return tag("td", "–", class_="none")
    text = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
    return tag("td", text, tag("span", class_="bar", style=f"width:{100 * value / most:.1f}%"))


def _measured(cell: Cell) -> str:
    column = columns([cell])[0]
    return f"{column.title}; {column.tasks:,} tasks of {column.queries} queries"


def _training(record: Record) -> float:
    values = [part.get("seconds") for part in record.training]
    return sum(float(value) for value in values if isinstance(value, int | float))


def _origin(record: Record) -> tuple[str, ...]:
    versions: Mapping[str, object] = record.versions
    return (record.machine, record.result.device, (record.commit or "no repository")[:13], record.spec_hash[:12],
            record.command, ", ".join(f"{name} {value}" for name, value in versions.items()))


def _chosen(records: Sequence[Record]) -> str:
    return ", ".join(sorted({str(record.result.model.get("selected_on") or "nothing") for record in records}))


def _span(times: Sequence[str]) -> str:
    low, high = min(times), max(times)
    return low if low == high else f"{low} to {high}"
