"""Experiments: one row, in one mode, on one kind of tasks, from one training seed."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.format_1 import row_to_format_1, to_format_1
from graphfew.benchmark.loader import AnyBenchmark
from graphfew.benchmark.method_config import MethodConfig
from graphfew.benchmark.semi_supervised import (
    ClassifierConfig,
    LabelBudget,
    SemiSupervisedBenchmark,
)
from graphfew.benchmark.spec import EpisodeBenchmark, TrainingStep
from graphfew.benchmark.task_config import TaskConfig
from graphfew.errors import ConfigurationError
from graphfew.methods.registry import find_method
from graphfew.runs import TrainConfig
from graphfew.runs.option_catalog import LOCATION_OPTIONS

# Options that do not change what a training computes. Its initialization is covered by the chain.
NEUTRAL_OPTIONS = (*LOCATION_OPTIONS, "save_every", "init_encoder")
# Increased only if results of the same settings change.
KEY_FORMAT = 1


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeExperiment:
    """One result of an episode benchmark.

    Attributes:
        seed: of the training; None if nothing was trained or if several trainings are combined.
        transductive: the requested mode; None is as trained, or the method's default.
        drop_unlabeled: whether unlabeled items are dropped.
        count: number of tasks.
        key: SHA-256 of everything that determines the result.
    """

    spec: EpisodeBenchmark
    method: MethodConfig
    seed: int | None
    transductive: bool | None
    drop_unlabeled: bool
    tasks: TaskConfig
    count: int
    key: str = ""

    def __str__(self) -> str:
        parts = [self.method.name]
        if self.transductive is not None:
            parts.append("transductive" if self.transductive else "inductive")
        if self.drop_unlabeled:
            parts.append("unlabeled dropped")
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        return f"{', '.join(parts)}: {self.tasks}"

    @property
    def training_steps(self) -> tuple[TrainingStep, ...]:
        """The trainings that the experiment depends on, each after its initialization."""
        chains = self.spec.checkpoint_chains(self.method, self.seed)
        steps = {(training.name, seed): training for chain in chains for training, seed in chain}
        return tuple((training, seed) for (_, seed), training in steps.items())


@dataclasses.dataclass(frozen=True, eq=False)
class SemiSupervisedExperiment:
    """One result of a semi-supervised benchmark: a classifier on a label budget, `count` times."""

    spec: SemiSupervisedBenchmark
    method: ClassifierConfig
    budget: LabelBudget
    count: int
    key: str = ""
    seed: None = None

    def __str__(self) -> str:
        return f"{self.method.name}: {self.budget}"

    @property
    def training_steps(self) -> tuple[TrainingStep, ...]:
        """Nothing is trained."""
        return ()


AnyExperiment = EpisodeExperiment | SemiSupervisedExperiment


def list_experiments(
    spec: AnyBenchmark, max_tasks: int | None = None, rows: Collection[str] = ()
) -> tuple[AnyExperiment, ...]:
    """Return the experiments of a spec; those that share a checkpoint follow one another.

    Args:
        spec: a benchmark.
        max_tasks: the most tasks (or repeats) per experiment.
        rows: names of rows; all if empty. An unknown one raises ConfigurationError.
    """
    known = dict.fromkeys(method.name for method in spec.methods)
    for row in rows:
        if row not in known:
            raise ConfigurationError(
                f"{spec.path} has no row {row!r}; its rows are: {', '.join(known)}"
            )
    limit = sys.maxsize if max_tasks is None else max_tasks
    # Settings that amount to the same have one key, and are one experiment.
    distinct: dict[str, AnyExperiment] = {}
    found: Iterator[AnyExperiment]
    if isinstance(spec, SemiSupervisedBenchmark):
        found = _semi_supervised_experiments(spec, limit)
    else:
        found = _episode_experiments(spec, limit)
    for experiment in found:
        if not rows or experiment.method.name in rows:
            distinct.setdefault(experiment.key, experiment)
    return tuple(distinct.values())


def changed_options(config: TrainConfig) -> dict[str, JSON]:
    """Return the options that are not defaults, so that adding an option changes no key."""
    # Compared with the defaults of the same method and data, which have no defaults themselves.
    defaults = TrainConfig(config.method, config.data).to_options()
    changed = {
        name: value
        for name, value in config.to_options().items()
        if name not in NEUTRAL_OPTIONS and value != defaults[name]
    }
    return {"method": config.method, "data": config.data, **changed}


def to_finite(value: Any) -> Any:
    """Return JSON values in which infinite numbers and NaN are text."""
    if isinstance(value, Mapping):
        return {str(key): to_finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def hash_settings(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings as canonical JSON."""
    # Canonical: the order of keys in a spec and the spacing must not change the hash.
    content = to_finite(settings)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _episode_experiments(spec: EpisodeBenchmark, limit: int) -> Iterator[EpisodeExperiment]:
    for method in spec.methods:
        seeds: tuple[int | None, ...] = (None,)
        # A row that combines the encoders of all seeds has a single result.
        if method.trainings and not method.encoders_from:
            seeds = spec.training(method.trainings[0]).seeds
        # Seeds vary slowest: consecutive experiments then read one checkpoint, whose features of
        # the test items are still cached.
        settings = itertools.product(seeds, method.modes, method.drops, spec.tasks)
        for seed, transductive, drop, tasks in settings:
            if not method.only.matches(tasks):
                continue
            count = min(limit, tasks.n_tasks)
            # Without unlabeled items there is nothing to drop; the two experiments are one.
            drop_unlabeled = drop and tasks.has_unlabeled
            experiment = EpisodeExperiment(
                spec, method, seed, transductive, drop_unlabeled, tasks, count
            )
            yield dataclasses.replace(experiment, key=_episode_key(experiment))


def _episode_key(experiment: EpisodeExperiment) -> str:
    spec, method = experiment.spec, experiment.method
    trainings: list[JSON] = []
    # The whole chain: a result also depends on the training of the initial encoder.
    for chain in spec.checkpoint_chains(method, experiment.seed):
        for training, seed in chain:
            trainings.append(changed_options(spec.train_config(training, seed)))
    data = spec.data
    settings: dict[str, Any] = {
        "format": KEY_FORMAT,
        "row": row_to_format_1(method.name),
        "assumes": "even" if method.assumes == "balanced" else method.assumes,
        "mode": _effective_mode(experiment),
        "drop_unlabeled": experiment.drop_unlabeled,
        "draw": experiment.tasks.to_json(),
        # A trial run with fewer tasks has another hash, so it never replaces the full one.
        "tasks": experiment.count,
        "seed": spec.test.seed,
        "data": {
            "name": data.test_set,
            "split": data.test,
            "arguments": data.test_loader_arguments,
        },
        "training": trainings,
        "method": None,
    }
    # Of a trained method the options of the training contain name and arguments.
    if method.train is None:
        settings["method"] = {"name": method.method, "arguments": method.arguments}
    # Settings that are newer than the first records are hashed only if they are used, so that
    # the hashes of earlier records stay valid.
    if method.encoders_from:
        settings["together"] = method.trainings
    if method.views > 1:
        settings["views"] = method.views
    if method.mirror is not None:
        settings["mirror"] = method.mirror
    return hash_settings(to_format_1(settings))


def _effective_mode(experiment: EpisodeExperiment) -> bool | None:
    """The mode after all defaults, so that stating the default changes no key."""
    method = experiment.method
    facts = find_method(method.method)
    if not (facts.inductive and facts.transductive):
        return facts.transductive
    trained = experiment.spec.training(method.train).options if method.train else {}
    arguments = {**method.arguments, **trained.get("arguments", {})}
    default = inspect.signature(facts.factory).parameters["transductive"].default
    # The most specific setting first.
    modes = (experiment.transductive, trained.get("transductive"), arguments.get("transductive"))
    for mode in modes:
        if isinstance(mode, bool):
            return mode
    return bool(default) if default is not None else None


def _semi_supervised_experiments(
    spec: SemiSupervisedBenchmark, limit: int
) -> Iterator[SemiSupervisedExperiment]:
    sampling, data = spec.sampling, spec.data
    count = min(limit, sampling.repeats)
    for method, budget in itertools.product(spec.methods, sampling.budgets()):
        if not method.only.matches(budget):
            continue
        row = {
            **method.model_dump(include={"method", "arguments", "head", "head_arguments"}),
            "name": row_to_format_1(method.name),
            "pile": method.unlabeled,
            "assumes": "even" if method.assumes == "balanced" else method.assumes,
        }
        settings = {
            "format": KEY_FORMAT,
            "kind": "pile",
            "row": row,
            "pile": {"known": budget.way, "labels": budget.shot, "size": budget.unlabeled},
            "draws": count,
            # One seed for all rows: they are fitted on the same samples, and their differences are
            # paired.
            "seed": sampling.seed,
            "out_of_scope": sampling.out_of_scope,
            "data": data.model_dump(include={"name", "train", "test", "arguments"}),
        }
        key = hash_settings(to_format_1(settings))
        yield SemiSupervisedExperiment(spec, method, budget, count, key)
