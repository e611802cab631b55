"""Checks that need data, made before the first training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphfew.benchmark.data_config import DataRoots
from graphfew.benchmark.experiments import (
    AnyExperiment,
    EpisodeExperiment,
    SemiSupervisedExperiment,
)
from graphfew.benchmark.model_loading import untrained_model
from graphfew.benchmark.semi_supervised_run import load_semi_supervised_data
from graphfew.benchmark.spec import EpisodeBenchmark
from graphfew.benchmark.task_config import TaskConfig
from graphfew.benchmark.training_jobs import TrainingJob
from graphfew.data import Dataset
from graphfew.runs.build import build_state, check_forward


def check_before_run(
    experiments: Sequence[AnyExperiment], jobs: Sequence[TrainingJob], roots: DataRoots
) -> None:
    """Create all kinds of tasks, and pass a small one of them through each untrained model.

    Raises:
        SpecError: data cannot be read, cannot provide the tasks, or a model refuses the tasks.
    """
    semi_supervised = [e for e in experiments if isinstance(e, SemiSupervisedExperiment)]
    if semi_supervised:
        load_semi_supervised_data(semi_supervised[0].spec, roots)
    episodes = [e for e in experiments if isinstance(e, EpisodeExperiment)]
    if not episodes:
        return
    spec = episodes[0].spec
    items = load_test_items(spec, roots)
    # A dict keeps the order of the file, so that the first error is that of the first entry.
    for tasks in {experiment.tasks: None for experiment in episodes}:
        _check_tasks_exist(spec, tasks, items)
    for experiment in _smallest_experiments(episodes):
        _try_experiment(experiment, items)
    # Seeds differ in their weights, not in what can fail.
    first_seeds: dict[str, TrainingJob] = {}
    for job in jobs:
        first_seeds.setdefault(job.training.name, job)
    for job in first_seeds.values():
        _try_training(job)


def load_test_items(spec: EpisodeBenchmark, roots: DataRoots) -> Dataset:
    """Return the test split. Raises SpecError if it cannot be read."""
    try:
        return spec.data.load_test(roots)
    except ValueError as error:
        raise spec.error(error, "data", "test_name" if spec.data.test_name else "name") from error


def _smallest_experiments(experiments: Sequence[EpisodeExperiment]) -> Iterable[EpisodeExperiment]:
    """For each row, with and without unlabeled items, the experiment with the smallest tasks.

    Large tasks would take minutes.
    """
    smallest: dict[tuple[int, bool, bool], EpisodeExperiment] = {}
    for experiment in experiments:
        kind = (
            id(experiment.method),
            experiment.drop_unlabeled,
            experiment.tasks.has_unlabeled,
        )
        other = smallest.get(kind)
        if other is None or experiment.tasks.max_supports < other.tasks.max_supports:
            smallest[kind] = experiment
    return smallest.values()


def _check_tasks_exist(spec: EpisodeBenchmark, tasks: TaskConfig, items: Dataset) -> None:
    try:
        tasks.create(items, spec.test.seed)
    except ValueError as error:
        raise spec.error(error, "tasks", tasks.entry) from error


def _try_training(job: TrainingJob) -> None:
    try:
        # The initial encoder may still have to be trained, so it is not read.
        build_state(job.config, resuming=True)
    except (ValueError, TypeError, OSError) as error:
        raise job.spec.training_error(error, job.training) from error


def _try_experiment(experiment: EpisodeExperiment, items: Dataset) -> None:
    spec = experiment.spec
    tasks = experiment.tasks.create(items, spec.test.seed)
    model = untrained_model(experiment, items)
    try:
        check_forward(model, tasks)
    except (ValueError, TypeError) as error:
        message = f"on {experiment.tasks}: {error}"
        raise spec.method_error(message, experiment.method) from error
