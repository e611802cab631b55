"""What only data can tell, asked before the first training: every split, every kind of tasks, every model on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphfew.benchmark.data_config import Roots
from graphfew.benchmark.dispatch import AnyCell
from graphfew.benchmark.experiments import Cell
from graphfew.benchmark.model_loading import Shelf, untrained
from graphfew.benchmark.semi_supervised import PileCell
from graphfew.benchmark.semi_supervised_run import heap
from graphfew.benchmark.training_jobs import Job
from graphfew.data.int_range import IntRange
from graphfew.runs.build import build_state, check_forward


def check(missing: Sequence[AnyCell], jobs: Sequence[Job], roots: Roots) -> None:
    """Every kind of tasks made, and a small one of them through each model, weights untrained; nothing is kept.

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
    for cell in {id(cell.draw): cell for cell in episodes}.values():
        cell.draw.tasks(shelf.items, cell.spec.seed)
    for cell in _smallest(episodes):
        _try_cell(cell, shelf)
    for name in dict.fromkeys(job.training.name for job in jobs):
        _try_training(next(job for job in jobs if job.training.name == name))


def _smallest(cells: Sequence[Cell]) -> Iterable[Cell]:
    """For each row, with and without unlabeled items, the cell of the fewest supports: large tasks take minutes."""
    found: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        kind = (cell.row.table.place, cell.drop_unlabeled, cell.draw.has_unlabeled)
        if kind not in found or _supports(cell) < _supports(found[kind]):
            found[kind] = cell
    return found.values()


def _supports(cell: Cell) -> int:
    return IntRange.of(cell.draw.way).high * IntRange.of(cell.draw.shot).high


def _try_cell(cell: Cell, shelf: Shelf) -> None:
    tasks, model = cell.draw.tasks(shelf.items, cell.spec.seed), untrained(cell, shelf)
    try:
        check_forward(model, tasks)
    except (ValueError, TypeError) as error:
        raise cell.row.table.fault(f"[[row]] {cell.row.name!r} on {cell.draw}: {error}") from error


def _try_training(job: Job) -> None:
    try:
        build_state(job.config, resuming=True)
    except (ValueError, TypeError, OSError) as error:
        raise job.training.fault(" ".join(str(error).split())) from error
