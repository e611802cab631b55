"""Checks that need data, made before the first training."""

from __future__ import annotations

from collections.abc import Sequence

from graphfew.benchmark.data_config import DataRoots
from graphfew.benchmark.experiments import (
    AnyExperiment,
    EpisodeExperiment,
    SemiSupervisedExperiment,
)
from graphfew.benchmark.model_loading import untrained_model
from graphfew.benchmark.semi_supervised_run import load_semi_supervised_data
from graphfew.benchmark.spec import EpisodeBenchmark
from graphfew.benchmark.training_jobs import TrainingJob
from graphfew.data import Dataset
from graphfew.runs.build import build_state, check_forward


def check_before_run(
    experiments: Sequence[AnyExperiment], jobs: Sequence[TrainingJob], roots: DataRoots
) -> None:
    """Create all kinds of tasks, and pass a small one of them through each untrained model."""
    if experiments and isinstance(experiments[0], SemiSupervisedExperiment):
        load_semi_supervised_data(experiments[0].spec, roots)
    episodes = [e for e in experiments if isinstance(e, EpisodeExperiment)]
    if not episodes:
        return
    spec = episodes[0].spec
    items = load_test_items(spec, roots)
    # A dict keeps the order of the file, so that the first error is that of the first entry.
    for tasks in {experiment.tasks: None for experiment in episodes}:
        with spec.errors_at("tasks", tasks.entry):
            tasks.create(items, spec.test.seed)
    for experiment in _smallest_experiments(episodes):
        model = untrained_model(experiment, items)
        created = experiment.tasks.create(items, spec.test.seed)
        row, prefix = experiment.method, f"{experiment.method.name}: on {experiment.tasks}: "
        with spec.errors_at(*spec.location(row), prefix=prefix):
            check_forward(model, created)
    # Seeds differ in their weights, not in what can fail.
    first_jobs: dict[str, TrainingJob] = {}
    for job in jobs:
        first_jobs.setdefault(job.training.name, job)
    for job in first_jobs.values():
        with spec.errors_at(*spec.location(job.training)):
            # The initial encoder may still have to be trained, so it is not read.
            build_state(job.config, resuming=True)


def load_test_items(spec: EpisodeBenchmark, roots: DataRoots) -> Dataset:
    """Return the test split. Raises SpecError if it cannot be read."""
    with spec.errors_at("data", "test_name" if spec.data.test_name else "name"):
        return spec.data.load(spec.data.test, roots, test=True)


def _smallest_experiments(experiments: Sequence[EpisodeExperiment]) -> list[EpisodeExperiment]:
    """For each row, with and without unlabeled items, the experiment with the smallest tasks."""
    smallest: dict[tuple[int, bool, bool], EpisodeExperiment] = {}
    # Large tasks would take minutes. Sorting is stable: of equal sizes the first one counts.
    for e in sorted(experiments, key=lambda e: e.tasks.way.high * e.tasks.shot.high):
        kind = (id(e.method), e.drop_unlabeled, e.tasks.has_unlabeled)
        smallest.setdefault(kind, e)
    return list(smallest.values())
