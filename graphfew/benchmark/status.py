"""What a spec asks and how far it is, without its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from graphfew.benchmark.run import Options, Plan
from graphfew.benchmark.training_jobs import Job, jobs, progress, seconds_per_step


@dataclasses.dataclass(frozen=True)
class Standing:
    """A training or a row.

    Shapes:
        what: its name.
        done, total: steps of a training, cells of a row.
        seconds: that a step took; None where none was timed, and for a row.
    """

    what: str
    done: int
    total: int
    seconds: float | None = None


def survey(left: Plan, options: Options) -> tuple[tuple[Standing, ...], tuple[Standing, ...]]:
    """How far trainings are, and rows. Raises ValueError as `progress` does."""
    wanted = jobs(left.cells, options.out, options.roots, options.device)
    return tuple(map(_training, wanted)), tuple(_rows(left))


def _training(job: Job) -> Standing:
    tally = progress(job)
    steps = job.config.schedule.steps
    return Standing(str(job), 0 if tally is None else tally.step, steps, seconds_per_step(job))


def _rows(left: Plan) -> Iterator[Standing]:
    missing = {cell.key for cell in left.missing}
    for name in dict.fromkeys(cell.row.name for cell in left.cells):
        own = {cell.key for cell in left.cells if cell.row.name == name}
        yield Standing(name, len(own - missing), len(own))
