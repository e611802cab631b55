"""Records of a results folder, aggregated: superseded ones dropped, training seeds averaged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.records import BenchmarkRecord, UnreadableLine, read_records
from graphfew.errors import InvalidInputError, MissingFileError
from graphfew.evaluation import Result
from graphfew.evaluation.significance import SeedAverage, average_over_seeds


@dataclasses.dataclass(frozen=True, order=True)
class ResultKey:
    """A row of the tables: its name, the evaluation mode, and the class balance it assumes."""

    row: str
    mode: str
    assumes: str

    @property
    def family(self) -> str:
        """The rows that are comparable at a glance: their mode and their assumption."""
        if self.assumes == "nothing":
            return self.mode
        return f"{self.mode}, assuming {self.assumes} queries"

    def __str__(self) -> str:
        is_stated = self.assumes == "nothing" or self.assumes in self.row
        name = self.row if is_stated else f"{self.row}, {self.assumes}"
        return f"{name} ({self.mode})"


@dataclasses.dataclass(frozen=True)
class AggregatedResult:
    """One row on one kind of tasks, over all its training seeds.

    Attributes:
        tasks_json: the task settings without the seed; equal for all results of a column.
        records: one per training seed, in order of seeds.
        average: over the seeds.
        n_excluded: seeds that were evaluated on other tasks.
    """

    key: ResultKey
    tasks_json: str
    records: tuple[BenchmarkRecord, ...]
    average: SeedAverage
    n_excluded: int = 0

    @property
    def task_settings(self) -> Mapping[str, JSON]:
        """The task settings without the seed."""
        settings: Mapping[str, JSON] = json.loads(self.tasks_json)
        return settings

    @property
    def n_tasks(self) -> int:
        """Number of test tasks."""
        return len(self.average.result.per_task)

    @property
    def task_identity(self) -> str:
        """Number, settings and seed of the tasks; only results with the same are comparable."""
        return task_identity(self.average.result)

    @property
    def queries_per_task(self) -> float:
        """Mean number of queries."""
        # All records have the same tasks, hence the same queries.
        return self.records[0].n_queries / self.n_tasks

    @property
    def method(self) -> str:
        """Name of the method in the registry."""
        return str(self.average.result.model.get("method", self.key.row))


@dataclasses.dataclass(frozen=True)
class BenchmarkResults:
    """The results of one file.

    Attributes:
        name: of the spec.
        results: in order of their first record.
        n_superseded: records that a later one of the same experiment replaces.
        unreadable: lines that cannot be read.
    """

    name: str
    results: tuple[AggregatedResult, ...]
    n_superseded: int
    unreadable: tuple[UnreadableLine, ...]


def aggregate_results(folder: Path) -> tuple[BenchmarkResults, ...]:
    """Return the results of each `*.jsonl` file of a folder, by name.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: it contains no results.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder; give the --out of `graphfew bench`")
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InvalidInputError(
            f"{folder} contains no results (*.jsonl); run `graphfew bench`, or give its --out"
        )
    return tuple(_aggregate_file(path) for path in paths)


def select_record(records: Sequence[BenchmarkRecord]) -> BenchmarkRecord:
    """Return the valid one among records of one experiment.

    Of the newest spec it is the one with the most tasks, and of these the last. So a trial run
    with few tasks does not hide the full result of the same spec.
    """
    newest = [record for record in records if record.spec_hash == records[-1].spec_hash]
    most = max(len(record.result.per_task) for record in newest)
    return [record for record in newest if len(record.result.per_task) == most][-1]


def task_identity(result: Result) -> str:
    """Return number, settings and seed of a result's tasks as text."""
    return f"{len(result.per_task)} {json.dumps(dict(result.tasks), sort_keys=True)}"


def _aggregate_file(path: Path) -> BenchmarkResults:
    records, unreadable = read_records(path)
    experiments: dict[tuple[ResultKey, str, int | None], list[BenchmarkRecord]] = {}
    for record in records:
        key = ResultKey(record.row, str(record.result.mode), record.assumes)
        # Columns ignore the seed of the tasks; results with another one are marked in their
        # cell.
        settings = {name: value for name, value in record.result.tasks.items() if name != "seed"}
        tasks_json = json.dumps(settings, sort_keys=True)
        # Not grouped by hash: a record of an older spec has another hash, but belongs to the
        # same cell.
        experiments.setdefault((key, tasks_json, record.seed), []).append(record)
    seeds: dict[tuple[ResultKey, str], list[BenchmarkRecord]] = {}
    for (key, tasks_json, _), same in experiments.items():
        seeds.setdefault((key, tasks_json), []).append(select_record(same))
    results = tuple(_average(key, tasks, group) for (key, tasks), group in seeds.items())
    return BenchmarkResults(path.stem, results, len(records) - len(experiments), unreadable)


def _average(
    key: ResultKey, tasks_json: str, records: Sequence[BenchmarkRecord]
) -> AggregatedResult:
    """Average the seeds that were evaluated on the same tasks as most others."""
    by_tasks: dict[str, list[BenchmarkRecord]] = {}
    for record in records:
        by_tasks.setdefault(task_identity(record.result), []).append(record)
    # Tasks are paired over seeds, so seeds with other tasks cannot enter the average.
    used = max(by_tasks.values(), key=lambda group: (len(group), len(group[0].result.per_task)))
    used = sorted(used, key=lambda record: -1 if record.seed is None else record.seed)
    average = average_over_seeds([record.result for record in used])
    return AggregatedResult(key, tasks_json, tuple(used), average, len(records) - len(used))
