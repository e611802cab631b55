"""One cell's record: its model on its tasks, with everything that the figure was made with."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from graphfew.benchmark.environment import all_versions, machine, memory, now
from graphfew.benchmark.experiments import Cell, plain
from graphfew.benchmark.model_loading import Shelf, model_of, ready
from graphfew.benchmark.records import Record
from graphfew.benchmark.training_jobs import behind, facts, job
from graphfew.evaluation.accuracy import evaluate
from graphfew.nn.method import device_of
from graphfew.runs.evaluation import QueryCounter


def measured(
    cell: Cell,
    shelf: Shelf,
    out: Path,
    device: torch.device,
    *,
    command: str,
    commit: str | None,
    progress: Callable[[int], None],
) -> Record:
    """The record of a cell.

    Args:
        cell: with its trainings done.
        shelf: the items of the test.
        out: the folder of results, with the runs below it.
        device: where items are encoded, and where the model runs if it has weights.
        command, commit: what the record says of them.
        progress: called with the number of tasks done; it may raise in order to stop.

    Raises:
        FileNotFoundError: a checkpoint is not there.
        ValueError: the model refuses the tasks.
        ContractError: the model breaks the evaluation contract.
    """
    spec = cell.spec
    model, items = ready(model_of(cell, shelf, out, device), shelf)
    tasks = QueryCounter(cell.draw.tasks(items, spec.seed))
    place = device_of(model)
    with memory(place) as peak:
        began = time.perf_counter()
        result = evaluate(model, tasks, cell.count, batch=spec.batch, progress=progress)
        seconds, most = time.perf_counter() - began, peak()
    told = {**plain(result.model), "input": list(shelf.items.x.shape[1:])}
    trained = (
        facts(job(spec, training, seed, out, {}, str(device))) for training, seed in behind(cell)
    )
    return Record(
        benchmark=spec.name,
        row=cell.row.name,
        seed=cell.seed,
        assumes=cell.row.assumes,
        key=cell.key,
        spec_hash=spec.digest,
        commit=commit,
        versions=all_versions(),
        machine=machine(place),
        result=dataclasses.replace(result, model=told),
        decisions=tasks.n_queries,
        seconds=round(seconds, 6),
        training=tuple(trained),
        peak_memory=most,
        command=command,
        time=now(),
    )
