"""`EpisodeBenchmark`: data, trainings, test tasks and methods, as a TOML file declares them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr

from graphfew.benchmark.data_config import DataConfig
from graphfew.benchmark.method_config import MethodConfig
from graphfew.benchmark.spec_fields import Entries, FileName, Location, Seed, SpecError, SpecModel
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


class EvaluationConfig(SpecModel):
    """The table `[test]`: number and seed of the test tasks, and how many are encoded at once."""

    n_tasks: int = Field(default=1000, ge=2)
    seed: Seed = 0
    batch: int = Field(default=16, ge=1)


class EpisodeBenchmark(BenchmarkSpec):
    """A benchmark of few-shot methods on test tasks.

    Attributes:
        trainings: what is trained, in order.
        task_grids: the entries of `[[tasks]]`, which `tasks` expands.
        methods: the rows of the tables.
    """

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

    def training_error(self, error: Exception | str, training: TrainingConfig) -> SpecError:
        """Return an error of a training."""
        return self.error(error, "train", self.trainings.index(training))

    def method_error(
        self, error: Exception | str, method: MethodConfig, key: str | None = None
    ) -> SpecError:
        """Return an error of a row."""
        # By identity: two entries may be equal, and only one of them is the invalid one.
        index = next(i for i, row in enumerate(self.methods) if row is method)
        message = error if isinstance(error, Exception) else f"{method.name}: {error}"
        return self.error(message, "row", index, *([key] if key else []))

    def train_config(
        self, training: TrainingConfig, seed: int, init_encoder: str = INIT_PLACEHOLDER
    ) -> TrainConfig:
        """Return the configuration of one seed. Raises SpecError for invalid options."""
        options = {**self.data.training_defaults(), **training.options, "seed": seed}
        if training.init_from:
            options["init_encoder"] = init_encoder
        try:
            return TrainConfig.from_options(options)
        except ValueError as error:
            raise self.training_error(error, training) from error

    def init_seed(self, training: TrainingConfig, seed: int) -> int:
        """Return the seed of the training that this one is initialized from.

        Raises:
            SpecError: that training has several seeds, and none is `seed`.
        """
        # With equal seeds each run continues its own predecessor. A single first run is shared by
        # all seeds, whose spread then excludes that of the initial encoder.
        first = self.training(str(training.init_from))
        if seed in first.seeds:
            return seed
        if len(first.seeds) > 1:
            raise self.error(
                f"{training.name!r} has seed {seed}, but {first.name!r} has seeds "
                f"{list(first.seeds)}; give them the same seeds, or {first.name!r} a single one",
                *("train", self.trainings.index(training), "init_from"),
            )
        return first.seeds[0]

    def training_chain(self, name: str, seed: int) -> tuple[TrainingStep, ...]:
        """Return the trainings that lead to a checkpoint, with their seeds, in order."""
        training = self.training(name)
        if not training.init_from:
            return ((training, seed),)
        before = self.training_chain(training.init_from, self.init_seed(training, seed))
        return (*before, (training, seed))

    def checkpoint_chains(
        self, method: MethodConfig, seed: int | None
    ) -> tuple[tuple[TrainingStep, ...], ...]:
        """Return the chain of each checkpoint that a row reads.

        Args:
            method: a row.
            seed: of the training; None for rows that combine the encoders of all seeds.
        """
        if seed is not None:
            return tuple(self.training_chain(name, seed) for name in method.trainings)
        chains: list[tuple[TrainingStep, ...]] = []
        for name in method.trainings:
            chains += [self.training_chain(name, own) for own in self.training(name).seeds]
        return tuple(chains)
