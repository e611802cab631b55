"""`EpisodeBenchmark`: data, trainings, test tasks and methods, as a TOML file declares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from graphfew.benchmark.data_config import DataConfig
from graphfew.benchmark.method_config import MethodConfig
from graphfew.benchmark.spec_fields import (
    Entries,
    FileName,
    Location,
    Seed,
    SpecError,
    SpecModel,
    suggest,
)
from graphfew.benchmark.task_config import TaskConfig, TaskGrid
from graphfew.benchmark.training_config import TrainingConfig
from graphfew.runs import TrainConfig

# `TrainConfig` requires an initial encoder for some options, such as freeze_encoder; its path
# depends on the output folder, which a spec does not know.
INIT_PLACEHOLDER = "the encoder of an earlier training"
TrainingStep = tuple[TrainingConfig, int]


class BenchmarkSpec(SpecModel):
    """What all kinds of benchmarks have in common.

    Attributes:
        name: of the results file and of the folder of the training runs.
        title, about: shown in reports.
        compare_with: the row that the others are compared with; by default the first.
    """

    name: FileName
    title: str = ""
    about: str = ""
    compare_with: str = ""
    data: DataConfig
    # Set by `load_spec`. Private attributes are not keys of the file, and copies keep them.
    _path: Path = PrivateAttr(Path("spec.toml"))
    _digest: str = PrivateAttr("")

    @property
    def path(self) -> Path:
        """The file that the spec was read from."""
        return self._path

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return self._digest

    def error(self, error: Exception | str, *location: str | int) -> SpecError:
        """Return an error at a place of the spec, extended by the key that `error` carries."""
        key = getattr(error, "key", None)
        full: Location = (*location, key) if isinstance(key, str) else location
        # Factories explain over several lines; the command line shows an error as one.
        return SpecError(self.path, full, " ".join(str(error).split()))

    @contextmanager
    def errors_at(self, *location: str | int, prefix: str = "") -> Iterator[None]:
        """Convert what invalid settings or data raise in the block to an error at a place."""
        try:
            yield
        except SpecError:
            raise
        except (ValueError, TypeError, OSError) as error:
            raise self.error(f"{prefix}{error}" if prefix else error, *location) from error

    def default_texts(self, rows: Sequence[str]) -> dict[str, Any]:
        """Return title and reference row after defaults. Raises SpecError for an unknown row."""
        if self.compare_with and self.compare_with not in rows:
            hint = suggest(self.compare_with, rows)
            raise self.error(f"no row is called {self.compare_with!r}; {hint}", "compare_with")
        return {"title": self.title or self.name, "compare_with": self.compare_with or rows[0]}


class EvaluationConfig(SpecModel):
    """The table `[test]`: number and seed of the test tasks, and how many are encoded at once."""

    n_tasks: int = Field(default=1000, ge=2)
    seed: Seed = 0
    batch: int = Field(default=16, ge=1)


class EpisodeBenchmark(BenchmarkSpec):
    """A benchmark of few-shot methods on test tasks: trainings in order, and rows of tables."""

    kind: Literal["episodes"] = "episodes"
    test: EvaluationConfig = EvaluationConfig()
    trainings: Entries[TrainingConfig] = Field(default=(), alias="train")
    task_grids: Entries[TaskGrid] = Field(alias="tasks", min_length=1)
    methods: Entries[MethodConfig] = Field(alias="row", min_length=1)

    @cached_property
    def tasks(self) -> tuple[TaskConfig, ...]:
        """Every kind of test tasks."""
        configs: list[TaskConfig] = []
        for entry, grid in enumerate(self.task_grids):
            configs += grid.expand(entry, self.test.n_tasks)
        return tuple(configs)

    def training(self, name: str) -> TrainingConfig:
        """Return the training of that name."""
        return next(training for training in self.trainings if training.name == name)

    def has_training(self, name: str) -> bool:
        """Return whether a training has that name."""
        return any(training.name == name for training in self.trainings)

    def location(self, entry: TrainingConfig | MethodConfig) -> tuple[str, int]:
        """Return the place of a training or row in the file."""
        is_training = isinstance(entry, TrainingConfig)
        entries: Sequence[SpecModel] = self.trainings if is_training else self.methods
        # By identity: two entries may be equal, and only one of them is the invalid one.
        index = next(i for i, other in enumerate(entries) if other is entry)
        return ("train" if is_training else "row", index)

    def row_error(self, message: str, method: MethodConfig, *key: str) -> SpecError:
        """Return an error of a row."""
        return self.error(f"{method.name}: {message}", *self.location(method), *key)

    def train_config(
        self, training: TrainingConfig, seed: int, init_encoder: str = INIT_PLACEHOLDER
    ) -> TrainConfig:
        """Return the configuration of one seed. Raises SpecError for invalid options."""
        options = {**self.data.training_defaults, **training.options, "seed": seed}
        if training.init_from:
            options["init_encoder"] = init_encoder
            if training.embedding_ == training.init_from:
                options["embedding"] = init_encoder
        with self.errors_at(*self.location(training)):
            return TrainConfig.from_options(options)

    def training_chain(self, name: str, seed: int) -> tuple[TrainingStep, ...]:
        """Return the trainings that lead to a checkpoint, with their seeds, in order."""
        training = self.training(name)
        if not training.init_from or not self.has_training(training.init_from):
            return ((training, seed),)
        # With equal seeds each run continues its own predecessor. A single first run is shared by
        # all seeds, whose spread then excludes that of the initial encoder.
        first = self.training(training.init_from)
        first_seed = first.seeds[0]
        if seed in first.seeds:
            first_seed = seed
        elif len(first.seeds) > 1:
            raise self.error(
                f"{training.name!r} has seed {seed}, but {first.name!r} has seeds "
                f"{list(first.seeds)}; give them the same seeds, or {first.name!r} a single one",
                *(*self.location(training), "init_from"),
            )
        return (*self.training_chain(first.name, first_seed), (training, seed))

    def checkpoint_chains(
        self, method: MethodConfig, seed: int | None
    ) -> list[tuple[TrainingStep, ...]]:
        """Return the chain of each checkpoint that a row reads; for all seeds if `seed` is None."""
        chains: list[tuple[TrainingStep, ...]] = []
        for name in method.trainings:
            seeds = self.training(name).seeds if seed is None else (seed,)
            chains += [self.training_chain(name, number) for number in seeds]
        return chains
