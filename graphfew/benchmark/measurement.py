"""The record of an episode experiment: its model evaluated on its tasks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from graphfew.benchmark.experiments import EpisodeExperiment, to_finite
from graphfew.benchmark.model_loading import FeatureCache, load_model, model_and_items
from graphfew.benchmark.records import BenchmarkRecord
from graphfew.benchmark.training_jobs import training_facts, training_job
from graphfew.evaluation import evaluate
from graphfew.nn.method import device_of
from graphfew.runs.environment import all_versions, machine_name, peak_memory, utc_now
from graphfew.runs.evaluation import QueryCounter


@dataclasses.dataclass(frozen=True)
class MeasurementContext:
    """What the records of a run have in common.

    Attributes:
        out: folder of results, with the training runs below it.
        device: where items are encoded, and where models with weights run.
        command, commit: of the records.
    """

    out: Path
    device: torch.device
    command: str
    commit: str | None


def measure_episodes(
    experiment: EpisodeExperiment,
    cache: FeatureCache,
    context: MeasurementContext,
    progress: Callable[[int], None],
) -> BenchmarkRecord:
    """Evaluate an experiment whose trainings are finished.

    Args:
        experiment: what is evaluated.
        cache: the test items.
        context: folder, device, command and commit.
        progress: called with the number of finished tasks; it may raise in order to stop.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: the model refuses the tasks.
        ContractError: the model breaks the evaluation contract.
    """
    spec, method = experiment.spec, experiment.method
    loaded = load_model(experiment, cache.items, context.out, context.device)
    # Items are encoded outside the measurement: rows use the same features, and the first one
    # would pay for all.
    model, items = model_and_items(loaded, cache)
    tasks = QueryCounter(experiment.tasks.create(items, spec.test.seed))
    device = device_of(model)
    with peak_memory(device) as peak:
        started = time.perf_counter()
        result = evaluate(model, tasks, experiment.count, batch=spec.test.batch, progress=progress)
        seconds = time.perf_counter() - started
        memory = peak()
    # An argument may be infinite, for which JSON has no number.
    model_facts = {**to_finite(result.model), "input": list(cache.items.x.shape[1:])}
    trainings = []
    for training, seed in experiment.training_steps:
        # Only the run folder is read, so the folders of the data sets do not matter.
        job = training_job(spec, training, seed, context.out, {}, str(context.device))
        trainings.append(training_facts(job))
    return BenchmarkRecord(
        benchmark=spec.name,
        row=method.name,
        seed=experiment.seed,
        assumes=method.assumes,
        key=experiment.key,
        spec_hash=spec.digest,
        commit=context.commit,
        versions=all_versions(),
        machine=machine_name(device),
        result=dataclasses.replace(result, model=model_facts),
        n_queries=tasks.n_queries,
        seconds=round(seconds, 6),
        training=tuple(trainings),
        peak_memory=memory,
        command=context.command,
        time=utc_now(),
    )
