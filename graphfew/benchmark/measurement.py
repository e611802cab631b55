"""The record of an experiment: what was measured, where, and with which trainings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.experiments import AnyExperiment, EpisodeExperiment, to_finite
from graphfew.benchmark.model_loading import FeatureCache, load_model, model_and_items
from graphfew.benchmark.records import BenchmarkRecord
from graphfew.benchmark.training_jobs import training_facts, training_job
from graphfew.evaluation import Result, evaluate
from graphfew.nn.method import device_of
from graphfew.runs.environment import all_versions, machine_name, peak_memory, utc_now
from graphfew.runs.evaluation import QueryCounter

ShowProgress = Callable[[int], None]
RecordBuilder = Callable[..., BenchmarkRecord]


@dataclasses.dataclass(frozen=True)
class MeasurementContext:
    """What the records of a run have in common; items are encoded on `device`."""

    out: Path
    device: torch.device
    command: str
    commit: str | None

    @contextmanager
    def measure(self, experiment: AnyExperiment, device: torch.device) -> Iterator[RecordBuilder]:
        """Yield the function that makes the record, with the time and memory of the block so far."""
        with peak_memory(device) as peak:
            started = time.perf_counter()

            def make_record(
                result: Result,
                n_queries: int,
                training: Sequence[Mapping[str, JSON]] = (),
                metrics: Mapping[str, float] | None = None,
            ) -> BenchmarkRecord:
                seconds = time.perf_counter() - started
                return BenchmarkRecord(
                    benchmark=experiment.spec.name,
                    row=experiment.method.name,
                    seed=experiment.seed,
                    assumes=experiment.method.assumes,
                    key=experiment.key,
                    spec_hash=experiment.spec.digest,
                    commit=self.commit,
                    versions=all_versions(),
                    machine=machine_name(device),
                    result=result,
                    n_queries=n_queries,
                    seconds=round(seconds, 6),
                    training=tuple(training),
                    peak_memory=peak(),
                    command=self.command,
                    time=utc_now(),
                    metrics=metrics or {},
                )

            yield make_record


def measure_episodes(
    experiment: EpisodeExperiment,
    cache: FeatureCache,
    context: MeasurementContext,
    progress: ShowProgress,
) -> BenchmarkRecord:
    """Evaluate an experiment whose trainings are finished.

    `progress` is called with the number of finished tasks; it may raise in order to stop.
    """
    spec = experiment.spec
    loaded = load_model(experiment, cache.items, context.out, context.device)
    # Items are encoded outside the measurement: rows use the same features, and the first one
    # would pay for all.
    model, items = model_and_items(loaded, cache)
    tasks = QueryCounter(experiment.tasks.create(items, spec.test.seed))
    trainings: list[dict[str, JSON]] = []
    for training, seed in experiment.training_steps:
        # Only the run folder is read, so the folders of the data sets do not matter.
        job = training_job(spec, training, seed, context.out, {}, str(context.device))
        trainings.append(training_facts(job))
    with context.measure(experiment, device_of(model)) as make_record:
        result = evaluate(model, tasks, experiment.count, batch=spec.test.batch, progress=progress)
        # An argument may be infinite, for which JSON has no number.
        facts = {**to_finite(result.model), "input": list(cache.items.x.shape[1:])}
        result = dataclasses.replace(result, model=facts)
        return make_record(result, tasks.n_queries, trainings)
