"""The training runs of a benchmark: their folders, their progress, and how they resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.data_config import DataRoots
from graphfew.benchmark.experiments import NEUTRAL_OPTIONS, AnyExperiment
from graphfew.benchmark.spec import EpisodeBenchmark
from graphfew.benchmark.training_config import TrainingConfig
from graphfew.runs import PreparedRun, RunDir, TrainConfig, TrainingProgress, prepare, resume
from graphfew.runs.run_dir import parse_progress, read_config, read_sessions
from graphfew.serialization import checkpoint


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingJob:
    """One training from one seed, with its folder; device and data are those of the command line."""

    spec: EpisodeBenchmark
    training: TrainingConfig
    seed: int
    run: RunDir
    config: TrainConfig

    def __str__(self) -> str:
        return f"{self.training.name}, seed {self.seed}"


def training_jobs(
    experiments: Iterable[AnyExperiment], out: Path, roots: DataRoots, device: str
) -> tuple[TrainingJob, ...]:
    """Return the trainings that experiments depend on, each after its initialization."""
    jobs: dict[tuple[str, int], TrainingJob] = {}
    for experiment in experiments:
        for training, seed in experiment.training_steps:
            if (training.name, seed) not in jobs and isinstance(experiment.spec, EpisodeBenchmark):
                job = training_job(experiment.spec, training, seed, out, roots, device)
                jobs[training.name, seed] = job
    return tuple(jobs.values())


def training_job(
    spec: EpisodeBenchmark,
    training: TrainingConfig,
    seed: int,
    out: Path,
    roots: DataRoots,
    device: str,
) -> TrainingJob:
    """Return a training of the spec, in its folder below `out`."""
    *before, _ = spec.training_chain(training.name, seed)
    # Without an earlier training this is the name of a pretrained model, or nothing.
    init_encoder = training.init_from or ""
    if before:
        first, first_seed = before[-1]
        # With forward slashes, so that the configuration is the same on every system.
        init_encoder = training_run(spec, first.name, first_seed, out).best.as_posix()
    config = spec.train_config(training, seed, init_encoder)
    config = dataclasses.replace(config, root=roots.get(config.data), device=device)
    run = training_run(spec, training.name, seed, out)
    return TrainingJob(spec, training, seed, run, config)


def training_run(spec: EpisodeBenchmark, name: str, seed: int, out: Path) -> RunDir:
    """Return the run folder of a training."""
    return RunDir(out / "runs" / spec.name / f"{name}-seed{seed}")


def job_progress(job: TrainingJob) -> TrainingProgress | None:
    """Return the progress of a training; None if it has not started.

    Raises:
        SpecError: the folder holds a run with other options.
    """
    if not job.run.config.is_file():
        return None
    config, _ = read_config(job.run)
    existing = config.to_options()
    differences: list[str] = []
    for name, wanted in job.config.to_options().items():
        # A run may move to another device or data folder; any other option would give other
        # weights.
        if name not in NEUTRAL_OPTIONS and existing[name] != wanted:
            differences.append(f"{name} is {existing[name]!r} there and {wanted!r} in the spec")
    if differences:
        raise job.spec.error(
            f"{job.run.folder} holds another run: {'; '.join(differences)}; move that folder away "
            "to train again, or choose another --out",
            *job.spec.location(job.training),
        )
    if not job.run.last.is_file():
        return TrainingProgress()
    return parse_progress(job.run, checkpoint.read_extra(job.run.last))


def is_finished(job: TrainingJob) -> bool:
    """Return whether nothing is left to train. Raises ValueError as `job_progress` does."""
    tally = job_progress(job)
    # Experiments read the best checkpoint; a run that lost it has to be trained again.
    if tally is None or not job.run.best.is_file():
        return False
    return tally.is_finished(job.config.schedule)


def open_job(job: TrainingJob) -> PreparedRun:
    """Resume a training, or start it. Raises as `prepare` and `resume` do."""
    if job.run.config.is_file():
        return resume(job.run.folder, {"root": job.config.root, "device": job.config.device})
    # Left by a process that was killed while it wrote its first file.
    for leftover in job.run.folder.glob(f".{job.run.config.name}.*"):
        leftover.unlink()
    return prepare(job.run.folder, job.config.to_options())


def training_facts(job: TrainingJob) -> dict[str, JSON]:
    """Return what a record reports about a training, times of all its sessions included."""
    past: list[Mapping[str, Any]] = list(read_sessions(job.run))
    # A training that was started again begins with a new session at step 0.
    first = max((i for i, session in enumerate(past) if session["from_step"] == 0), default=0)
    counted = past[first:]
    schedule = job.config.schedule
    devices = dict.fromkeys(str(session["device"]) for session in counted)
    return {
        "name": job.training.name,
        "method": job.config.method,
        "seed": job.seed,
        # Validation is listed apart: its share depends on the spec, not on the method.
        "seconds": round(sum(session["training_seconds"] for session in counted), 3),
        "validating_seconds": round(sum(session["validating_seconds"] for session in counted), 3),
        "timed_steps": sum(session["to_step"] - session["from_step"] for session in counted),
        "steps": schedule.steps,
        "tasks": schedule.steps * schedule.batch,
        "device": ", ".join(devices),
    }


def seconds_per_step(job: TrainingJob) -> float | None:
    """Return the duration of a training step; None if none was timed."""
    facts: dict[str, Any] = training_facts(job)
    steps = facts["timed_steps"]
    return float(facts["seconds"]) / steps if steps else None
