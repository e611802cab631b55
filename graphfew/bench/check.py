"""What only data can tell, asked before the first training: every split, every kind of tasks, every model on them."""

from __future__ import annotations

from collections.abc import Sequence

from graphfew.bench.cells import Cell
from graphfew.bench.kinds import AnyCell
from graphfew.bench.models import Shelf, untrained
from graphfew.bench.pile import PileCell
from graphfew.bench.pile_measure import heap
from graphfew.bench.source import Roots
from graphfew.bench.trainings import Job
from graphfew.runs.build import build, look


def check(missing: Sequence[AnyCell], jobs: Sequence[Job], roots: Roots) -> None:
    """One task of each kind of a spec's cells through each model, weights untrained; nothing is kept.

    Raises:
        ValueError: data that is not there, tasks that it cannot give, or tasks that a model refuses; the message names
            the spec's file and line.
    """
    piles = [cell for cell in missing if isinstance(cell, PileCell)]
    if piles:
        heap(piles[0].spec, roots)
    episodes = [cell for cell in missing if isinstance(cell, Cell)]
    if not episodes:
        return
    shelf = Shelf(episodes[0].spec.source.load_test(roots))
    seen: set[tuple[str, int]] = set()
    for cell in episodes:
        kind = (cell.row.name, id(cell.draw))
        if kind not in seen:
            seen.add(kind)
            _try_cell(cell, shelf)
    for name in dict.fromkeys(job.training.name for job in jobs):
        _try_training(next(job for job in jobs if job.training.name == name))


def _try_cell(cell: Cell, shelf: Shelf) -> None:
    tasks, model = cell.draw.tasks(shelf.items, cell.spec.seed), untrained(cell, shelf)
    try:
        look(model, tasks)
    except (ValueError, TypeError) as error:
        raise cell.row.table.fault(f"[[row]] {cell.row.name!r} on {cell.draw}: {error}") from error


def _try_training(job: Job) -> None:
    try:
        build(job.config, resuming=True)
    except (ValueError, TypeError, OSError) as error:
        raise job.training.fault(" ".join(str(error).split())) from error
