"""The trainings of a spec in their folders: how far they are, and how they go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.data_config import Roots
from graphfew.benchmark.experiments import NEUTRAL, Cell, chain, chains
from graphfew.benchmark.semi_supervised import PileCell
from graphfew.benchmark.spec import Spec
from graphfew.benchmark.training_config import Training
from graphfew.runs import PreparedRun, RunDir, TrainConfig, TrainingProgress, prepare, resume
from graphfew.runs.run_dir import parse_progress, read_config, read_sessions
from graphfew.serialization import checkpoint


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One training from one seed.

    Shapes:
        run: its folder.
        config: what the spec asks; device and data's folder are those of the command.
    """

    training: Training
    seed: int
    run: RunDir
    config: TrainConfig

    def __str__(self) -> str:
        return f"{self.training.name}, seed {self.seed}"


def jobs(cells: Iterable[Cell | PileCell], out: Path, roots: Roots, device: str) -> tuple[Job, ...]:
    """The trainings that the cells hang on, each after the one that it starts from."""
    found: dict[tuple[str, int], Job] = {}
    for cell in cells:
        if isinstance(cell, Cell):
            for training, seed in behind(cell):
                found.setdefault(
                    (training.name, seed), job(cell.spec, training, seed, out, roots, device)
                )
    return tuple(found.values())


def behind(cell: Cell) -> tuple[tuple[Training, int], ...]:
    """The trainings behind a cell with their seeds, each after the one that it starts from."""
    return tuple(
        dict.fromkeys(step for steps in chains(cell.spec, cell.row, cell.seed) for step in steps)
    )


def job(spec: Spec, training: Training, seed: int, out: Path, roots: Roots, device: str) -> Job:
    """A training of the spec in its folder below `out`."""
    start = chain(spec, training.name, seed)[:-1]
    first = folder(spec, start[-1][0].name, start[-1][1], out).best.as_posix() if start else ""
    config = training.config(seed, first)
    root = roots.get(config.data)
    return Job(
        training,
        seed,
        folder(spec, training.name, seed, out),
        dataclasses.replace(config, root=root, device=device),
    )


def folder(spec: Spec, name: str, seed: int, out: Path) -> RunDir:
    """The folder of a training."""
    return RunDir(out / "runs" / spec.name / f"{name}-seed{seed}")


def progress(job: Job) -> TrainingProgress | None:
    """How far a training is; None where it has not begun.

    Raises:
        ValueError: the folder holds another run than the spec asks, or files that cannot be read.
    """
    if not job.run.config.is_file():
        return None
    config, _ = read_config(job.run)
    own, wanted = config.to_options(), job.config.to_options()
    faults = [
        f"{name} is {own[name]!r} there and {wanted[name]!r} in the spec"
        for name in wanted
        if name not in NEUTRAL and own[name] != wanted[name]
    ]
    if faults:
        raise job.training.table.fault(
            f"[[train]] {job.training.name!r}: {job.run.folder} holds another run: {'; '.join(faults)}; move that "
            "folder away to train anew, or give another --out"
        )
    return (
        parse_progress(job.run, checkpoint.read_extra(job.run.last))
        if job.run.last.is_file()
        else TrainingProgress()
    )


def is_finished(job: Job) -> bool:
    """Whether nothing is left to train. Raises ValueError as `progress` does."""
    tally = progress(job)
    return tally is not None and job.run.best.is_file() and tally.is_finished(job.config.schedule)


def ready(job: Job) -> PreparedRun:
    """The training where it stopped, or a new one. Raises as `prepare` and `resume` do."""
    if job.run.config.is_file():
        return resume(job.run.folder, {"root": job.config.root, "device": job.config.device})
    for rest in job.run.folder.glob(f".{job.run.config.name}.*"):
        rest.unlink()  # a process that was killed while it wrote its first file
    return prepare(job.run.folder, job.config.to_options())


def facts(job: Job) -> dict[str, JSON]:
    """What a record tells of a training: its seconds are those of the sessions that led to these weights."""
    past: Sequence[Mapping[str, Any]] = read_sessions(job.run)
    begun = max(
        (number for number, session in enumerate(past) if session["from_step"] == 0), default=0
    )
    counted = past[begun:]
    schedule = job.config.schedule
    total = {
        name: round(sum(session[name] for session in counted), 3)
        for name in ("training_seconds", "validating_seconds")
    }
    return {
        "name": job.training.name,
        "method": job.config.method,
        "seed": job.seed,
        "seconds": total["training_seconds"],
        "validating_seconds": total["validating_seconds"],
        "timed_steps": sum(session["to_step"] - session["from_step"] for session in counted),
        "steps": schedule.steps,
        "tasks": schedule.steps * schedule.batch,
        "device": ", ".join(dict.fromkeys(str(session["device"]) for session in counted)),
    }


def seconds_per_step(job: Job) -> float | None:
    """How long a step took; None where none was timed."""
    told = facts(job)
    steps, seconds = told["timed_steps"], told["seconds"]
    return (
        seconds / steps if isinstance(steps, int) and isinstance(seconds, float) and steps else None
    )
