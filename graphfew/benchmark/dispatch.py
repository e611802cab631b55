"""What differs between the kinds of specs: their cells, and how these are measured."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import torch

from graphfew.benchmark.data_config import Roots
from graphfew.benchmark.environment import commit
from graphfew.benchmark.experiments import Cell, cells
from graphfew.benchmark.loader import AnySpec
from graphfew.benchmark.measurement import measured
from graphfew.benchmark.model_loading import Shelf
from graphfew.benchmark.records import Record
from graphfew.benchmark.semi_supervised import PileCell, PileSpec, pile_cells
from graphfew.benchmark.semi_supervised_run import heap, measured_pile

AnyCell = Cell | PileCell
Measure = Callable[[AnyCell, Callable[[int], None]], Record]


def all_cells(
    spec: AnySpec, most: int | None = None, only: Collection[str] = ()
) -> tuple[AnyCell, ...]:
    """The cells of a spec: at most `most` tasks (or draws) in each, of the rows in `only` where it is not empty.

    Raises:
        ValueError: a row that is not there.
    """
    known = dict.fromkeys(row.name for row in spec.rows)
    stray = next((name for name in only if name not in known), None)
    if stray is not None:
        raise ValueError(f"{spec.path} has no row {stray!r}; its rows are: {', '.join(known)}")
    return pile_cells(spec, most, only) if isinstance(spec, PileSpec) else cells(spec, most, only)


def measuring(
    spec: AnySpec, out: Path, roots: Roots, device: torch.device, command: str
) -> Measure:
    """`(cell, progress) -> record` for the cells of a spec, its data read once; `progress` gets the tasks done.

    Raises:
        ValueError: data that is not there.
    """
    here = commit()
    if isinstance(spec, PileSpec):
        items = heap(spec, roots)
        return lambda cell, progress: _pile(
            cell,
            partial(measured_pile, items=items, command=command, commit=here, progress=progress),
        )
    shelf = Shelf(spec.source.load_test(roots))
    return lambda cell, progress: _episodes(
        cell,
        partial(
            measured,
            shelf=shelf,
            out=out,
            device=device,
            command=command,
            commit=here,
            progress=progress,
        ),
    )


def _pile(cell: AnyCell, measure: Callable[[PileCell], Record]) -> Record:
    assert isinstance(cell, PileCell)
    return measure(cell)


def _episodes(cell: AnyCell, measure: Callable[[Cell], Record]) -> Record:
    assert isinstance(cell, Cell)
    return measure(cell)
