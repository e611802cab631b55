"""Records of a results folder, aggregated: superseded ones dropped, training seeds averaged."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.records import BenchmarkRecord, UnreadableLine, read_records
from graphfew.errors import InvalidInputError, MissingFileError
from graphfew.evaluation import SeedAverage, average_over_seeds

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
# Sources of training tasks that read no labels: publications name results after them.
_UNLABELED_SOURCES = ("umtra", "cactus")


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

    @cached_property
    def task_settings(self) -> Mapping[str, JSON]:
        """The task settings without the seed."""
        settings: Mapping[str, JSON] = json.loads(self.tasks_json)
        return settings

    @property
    def n_tasks(self) -> int:
        """Number of test tasks."""
        return len(self.average.result.per_task)

    @cached_property
    def task_identity(self) -> str:
        """Number, settings and seed of the tasks; only results with the same are comparable."""
        return _task_identity(self.records[0])

    @property
    def queries_per_task(self) -> float:
        """Mean number of queries; all records have the same tasks."""
        # All records have the same tasks, hence the same queries.
        return self.records[0].n_queries / self.n_tasks

    @property
    def method(self) -> str:
        """Name of the method in the registry."""
        return str(self.average.result.model.get("method", self.key.row))

    @property
    def published_name(self) -> str:
        """Name among published results: that of the method, or of what its training is known by."""
        model: Mapping[str, Any] = self.average.result.model
        tasks = model.get("training_tasks") or {}
        if tasks.get("source") in _UNLABELED_SOURCES:
            return str(tasks["source"])
        if "update" in model:
            return str(model["update"])
        first_order = (model.get("arguments") or {}).get("first_order", False)
        return f"fo{self.method}" if first_order else self.method


@dataclasses.dataclass(frozen=True)
class BenchmarkResults:
    """The results of one file in order of their first record, without superseded records."""

    name: str
    results: tuple[AggregatedResult, ...]
    n_superseded: int
    unreadable: tuple[UnreadableLine, ...]


def aggregate_results(folder: Path) -> tuple[BenchmarkResults, ...]:
    """Return the results of each `*.jsonl` file of a folder, by name; it must have one."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder; give the --out of `graphfew bench`")
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InvalidInputError(
            f"{folder} contains no results (*.jsonl); run `graphfew bench`, or give its --out"
        )
    return tuple(_aggregate_file(path) for path in paths)


def group_by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return the items by their key, in order of first occurrence."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def usual_tasks(results: Iterable[AggregatedResult]) -> str:
    """Return the identity of the tasks that most results of a column were evaluated on."""
    return Counter(result.task_identity for result in results).most_common(1)[0][0]


def _aggregate_file(path: Path) -> BenchmarkResults:
    records, unreadable = read_records(path)
    # Not grouped by hash: a record of an older spec has another hash, but belongs to the same
    # cell.
    experiments = group_by(records, lambda record: (*_cell(record), record.seed))
    selected = [_select_record(same) for same in experiments.values()]
    cells = group_by(selected, _cell)
    results = tuple(_average(key, tasks, group) for (key, tasks), group in cells.items())
    return BenchmarkResults(path.stem, results, len(records) - len(selected), unreadable)


def _cell(record: BenchmarkRecord) -> tuple[ResultKey, str]:
    key = ResultKey(record.row, str(record.result.mode), record.assumes)
    # Columns ignore the seed of the tasks; results with another one are marked in their cell.
    settings = {name: value for name, value in record.result.tasks.items() if name != "seed"}
    return key, json.dumps(settings, sort_keys=True)


def _select_record(records: Sequence[BenchmarkRecord]) -> BenchmarkRecord:
    """The valid one among records of one experiment: of the newest spec, with the most tasks.

    So a trial run with few tasks does not hide the full result of the same spec.
    """
    newest = [record for record in records if record.spec_hash == records[-1].spec_hash]
    # The last of several maxima, because max() returns the first.
    return max(reversed(newest), key=lambda record: len(record.result.per_task))


def _task_identity(record: BenchmarkRecord) -> str:
    result = record.result
    return f"{len(result.per_task)} {json.dumps(dict(result.tasks), sort_keys=True)}"


def _average(key: ResultKey, tasks: str, records: Sequence[BenchmarkRecord]) -> AggregatedResult:
    """Average the seeds that were evaluated on the same tasks as most others."""
    # Tasks are paired over seeds, so seeds with other tasks cannot enter the average.
    groups = group_by(records, _task_identity).values()
    used = max(groups, key=lambda group: (len(group), len(group[0].result.per_task)))
    used = sorted(used, key=lambda record: -1 if record.seed is None else record.seed)
    average = average_over_seeds([record.result for record in used])
    return AggregatedResult(key, tasks, tuple(used), average, len(records) - len(used))
