"""Published figures beside our own: a difference where nothing that moves accuracy differs, else what does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from graphfew.benchmark import Figure, differences, moving, of_figure, of_record
from graphfew.benchmark.protocol import Protocol
from graphfew.benchmark.report.aggregation import Cell

# Fields that make it another task altogether: such a figure does not stand beside ours.
_TASK = ("way", "shot", "unlabeled", "labeled_ratio", "distractors", "label_noise", "within_groups")


@dataclasses.dataclass(frozen=True)
class Beside:
    """A published figure beside one of our cells.

    Shapes:
        moving: what differs and moves accuracy; differences: all that differs.
        gap: ours minus theirs in points; None where anything in `moving` forbids it.
    """

    figure: Figure
    moving: tuple[str, ...]
    differences: tuple[str, ...]
    gap: float | None


def beside(cell: Cell, figures: Sequence[Figure]) -> tuple[Beside, ...]:
    """The figures of the cell's method on such tasks, the most comparable first."""
    own = of_record(cell.records[0])
    same = [
        (figure, of_figure(figure))
        for figure in figures
        if figure.benchmark == own.data and figure.method == cell.method
    ]
    found = [
        (_unlike(there, own), _beside(figure, there, own, cell))
        for figure, there in same
        if all(getattr(there, name) == getattr(own, name) for name in _TASK)
        and _alike(there.query, own.query)
    ]
    return tuple(pair for _, pair in sorted(found, key=lambda item: item[0]))


def _beside(figure: Figure, there: Protocol, own: Protocol, cell: Cell) -> Beside:
    moves = moving(there, own)
    gap = 100 * cell.over.result.mean - figure.value if not moves else None
    return Beside(figure, moves, differences(there, own), gap)


def _unlike(there: Protocol, own: Protocol) -> tuple[bool, bool, int]:
    return there.mode != own.mode, there.backbone != own.backbone, len(moving(there, own))


def _alike(there: str, own: str) -> bool:
    """Whether two draws are of one kind: an uneven one never stands beside an even one."""
    uneven = ("dirichlet", "single-class")
    kinds = [
        next((kind for kind in uneven if name.startswith(kind)), "even") for name in (there, own)
    ]
    return kinds[0] == kinds[1]
