"""Cost and origin of the results."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from graphfew.benchmark.records import BenchmarkRecord
from graphfew.benchmark.report.aggregation import AggregatedResult, BenchmarkResults, group_by
from graphfew.benchmark.report.result_tables import task_columns


def make_cost_table(results: Sequence[AggregatedResult]) -> dict[str, Any]:
    """Return speed, training time and memory of each row on its first kind of tasks."""
    first: dict[str, AggregatedResult] = {}
    for column in task_columns(results):
        for result in results:
            if result.tasks_json == column.tasks_json:
                first.setdefault(str(result.key), result)
    rows = [_cost_row(name, result) for name, result in first.items()]
    rows.sort(key=lambda row: -row["numbers"][0])
    facts = [set(values) for values in zip(*(row["facts"] for row in rows), strict=True)]
    return {
        "rows": rows,
        # The bars of a column are scaled to its largest number.
        "maxima": [max(values) for values in zip(*(row["numbers"] for row in rows), strict=True)],
        # What all rows have in common is stated once above the table.
        "shared_facts": [min(values) for values in facts if len(values) == 1],
        "varying": [i for i, values in enumerate(facts) if len(values) > 1],
    }


def make_provenance(benchmark: BenchmarkResults) -> tuple[tuple[str, ...], ...]:
    """Return how the results were made, as text; records of the same origin are one row."""
    records = [record for result in benchmark.results for record in result.records]
    rows: list[tuple[str, ...]] = []
    for origin, group in group_by(records, _origin).items():
        times = sorted(record.time for record in group)
        written = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        selections = {str(r.result.model.get("selected_on") or "nothing") for r in group}
        rows.append((*origin, written, str(len(group)), ", ".join(sorted(selections))))
    return tuple(rows)


def _cost_row(name: str, result: AggregatedResult) -> dict[str, Any]:
    records = result.records
    speed = mean(record.tasks_per_second for record in records)
    training = mean(_training_seconds(record) for record in records)
    # Memory must suffice for every seed, while times are averaged.
    memory = max((record.peak_memory or 0) for record in records) / 2**20
    (column,) = task_columns([result])
    facts = (records[0].machine, f"{column.title}; {column.counts}")
    return {"name": name, "numbers": (speed, training, memory), "facts": facts}


def _training_seconds(record: BenchmarkRecord) -> float:
    seconds = [part.get("seconds") for part in record.training]
    return sum(float(value) for value in seconds if isinstance(value, int | float))


def _origin(record: BenchmarkRecord) -> tuple[str, ...]:
    versions = ", ".join(f"{name} {value}" for name, value in record.versions.items())
    commit = f"graphfew {record.versions.get('graphfew')}, installed"
    # The sign for changed files must survive the cut.
    if record.commit is not None:
        commit = record.commit[:12] + ("+" if record.commit.endswith("+") else "")
    spec, command = record.spec_hash[:12], record.command
    return (record.machine, record.result.device, commit, spec, command, versions)
