"""Cost and origin of the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import mean

from graphfew.benchmark.records import BenchmarkRecord
from graphfew.benchmark.report.aggregation import AggregatedResult, BenchmarkResults
from graphfew.benchmark.report.result_tables import task_columns


@dataclasses.dataclass(frozen=True)
class CostRow:
    """Cost of one row on its first kind of tasks; 0 if not known.

    Attributes:
        numbers: tasks per second, seconds of training, and peak memory in MiB.
        facts: machine and tasks.
    """

    name: str
    numbers: tuple[float, float, float]
    facts: tuple[str, str]


@dataclasses.dataclass(frozen=True)
class CostTable:
    """Costs of all rows, the fastest first.

    Attributes:
        maxima: of each number over the rows.
        shared_facts: facts that are the same for all rows.
        varying: indices of the facts that differ.
    """

    rows: tuple[CostRow, ...]
    maxima: tuple[float, ...]
    shared_facts: tuple[str, ...]
    varying: tuple[int, ...]


def make_cost_table(results: Sequence[AggregatedResult]) -> CostTable:
    """Return speed, training time and memory of each row."""
    first: dict[str, AggregatedResult] = {}
    for column in task_columns(results):
        for result in results:
            if result.tasks_json == column.tasks_json:
                first.setdefault(str(result.key), result)
    rows = [_cost_row(name, result) for name, result in first.items()]
    rows.sort(key=lambda row: -row.numbers[0])
    facts = [{row.facts[i] for row in rows} for i in range(2)]
    return CostTable(
        rows=tuple(rows),
        # The bars of a column are scaled to its largest number.
        maxima=tuple(max(row.numbers[i] for row in rows) for i in range(3)),
        # What all rows have in common is stated once above the table.
        shared_facts=tuple(next(iter(values)) for values in facts if len(values) == 1),
        varying=tuple(i for i, values in enumerate(facts) if len(values) > 1),
    )


def make_provenance(benchmark: BenchmarkResults) -> tuple[tuple[str, ...], ...]:
    """Return how the results were made, as text; records of the same origin are one row.

    Returns:
        Machine, device, commit, spec, command, versions, times, number of records, and what
        selected the checkpoints.
    """
    groups: dict[tuple[str, ...], list[BenchmarkRecord]] = {}
    for result in benchmark.results:
        for record in result.records:
            groups.setdefault(_origin(record), []).append(record)
    rows: list[tuple[str, ...]] = []
    for origin, records in groups.items():
        times = sorted(record.time for record in records)
        written = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        selections = {str(r.result.model.get("selected_on") or "nothing") for r in records}
        selected_on = ", ".join(sorted(selections))
        rows.append((*origin, written, str(len(records)), selected_on))
    return tuple(rows)


def _cost_row(name: str, result: AggregatedResult) -> CostRow:
    records = result.records
    speed = mean(record.tasks_per_second for record in records)
    training = mean(_training_seconds(record) for record in records)
    # Memory must suffice for every seed, while times are averaged.
    memory = max((record.peak_memory or 0) for record in records) / 2**20
    column = task_columns([result])[0]
    facts = (records[0].machine, f"{column.title}; {column.counts}")
    return CostRow(name, (speed, training, memory), facts)


def _training_seconds(record: BenchmarkRecord) -> float:
    seconds = [part.get("seconds") for part in record.training]
    return sum(float(value) for value in seconds if isinstance(value, int | float))


def _origin(record: BenchmarkRecord) -> tuple[str, ...]:
    versions = ", ".join(f"{name} {value}" for name, value in record.versions.items())
    commit = f"graphfew {record.versions.get('graphfew')}, installed"
    # The sign for changed files must survive the cut.
    if record.commit is not None:
        commit = record.commit[:12] + ("+" if record.commit.endswith("+") else "")
    device = record.result.device
    return (record.machine, device, commit, record.spec_hash[:12], record.command, versions)
