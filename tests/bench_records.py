"""Records of made-up benchmarks, for the tests of what is made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphfew.benchmark import BenchmarkRecord, PublishedResult, append_record
from graphfew.evaluation.accuracy import Result
from graphfew.evaluation.mode import EvaluationMode
from graphfew.evaluation.statistics import t_interval

TASKS: dict[str, Any] = {
    "data": "omniglot",
    "split": "test",
    "way": 5,
    "shot": 1,
    "unlabeled": 0,
    "query": "balanced(15)",
    "seed": 0,
    "within_groups": False,
}
MODEL: dict[str, Any] = {
    "method": "prototypical",
    "arguments": {},
    "selected_on": "omniglot/val",
    "encoder": {"name": "conv4", "arguments": {"width": 64, "in_channels": 1, "size": 28}},
}


def accuracies(mean: float, count: int = 40, seed: int = 0) -> tuple[float, ...]:
    """Of so many tasks, scattered about a mean; the same for a seed."""
    drawn = np.random.default_rng(seed).normal(mean, 0.05, count)
    return tuple(float(value) for value in drawn.clip(0, 1))


def result(
    per_task: Sequence[float],
    mode: str = "inductive",
    tasks: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
) -> Result:
    mean, half = t_interval(per_task)
    return Result(
        mean,
        half,
        tuple(per_task),
        EvaluationMode.parse(mode),
        {**TASKS, **(tasks or {})},
        {**MODEL, **(model or {})},
        "cpu",
    )


def made(
    row: str = "Prototypes",
    mean: float = 0.8,
    *,
    count: int = 40,
    noise: int = 0,
    mode: str = "inductive",
    tasks: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **changes: Any,
) -> BenchmarkRecord:
    """A record whose accuracies are scattered about a mean."""
    own = result(accuracies(mean, count, noise), mode, tasks, model)
    key = f"{row}/{mode}/{tasks}/{count}/{changes.get('seed')}"
    record = BenchmarkRecord(
        "omniglot",
        row,
        None,
        "nothing",
        key,
        "5pec" * 16,
        "abc123",
        {"torch": "2"},
        "a processor",
        own,
        count * 75,
        2.0,
        ({"method": "prototypical", "seconds": 30.0},),
        10**9,
        "graphfew bench omniglot",
        "2026-11-21T00:00:00Z",
    )
    return dataclasses.replace(record, **changes)


def published_result(**changes: Any) -> PublishedResult:
    """A published accuracy with the protocol of `made()`."""
    entry = {
        "benchmark": "omniglot",
        "method": "prototypical",
        "label": "Prototypes",
        "way": 5,
        "shot": 1,
        "value": 98.8,
        "backbone": "conv4-64",
        "mode": "inductive",
        "batch_norm": "running",
        "query": "15",
        "source": "Snell 2017",
        "tag": "P",
        "selected_on": "validation",
        "tasks": 40,
        **changes,
    }
    return PublishedResult(**{key: value for key, value in entry.items() if value is not None})


def write_records(folder: Path, *records: BenchmarkRecord, name: str = "omniglot") -> Path:
    """Append records to a results file and return its folder."""
    for record in records:
        append_record(folder / f"{name}.jsonl", record)
    return folder
