"""Which items a page shows next."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Collection, Sequence

import torch

from graphfew.labeling.annotation.predictions import Predictions

# How many of the most uncertain items are tried before all others.
N_UNCERTAIN = 64


@dataclasses.dataclass(frozen=True)
class Choice:
    """An item to show.

    Attributes:
        item: its index.
        is_check: it was drawn at random, so its label counts for the estimated accuracy.
    """

    item: int
    is_check: bool = False


def choose_item(
    predictions: Predictions,
    *,
    is_open: Callable[[int], bool],
    skipped: Collection[int],
    queue: Sequence[int],
    turn: int,
    check_every: int,
) -> Choice | None:
    """Choose the next item.

    Every `check_every`-th item is random. Others come from the queue, then by uncertainty.
    Skipped items come last.

    Args:
        predictions: for all items.
        is_open: whether an item is undecided and on no other page.
        skipped: items that were left for later.
        queue: items to prefer, best first.
        turn: number of the turn, which seeds the random choice.
        check_every: period of random items; 0 for none.

    Returns:
        The item; None if none is open.

    Example:
        >>> from graphfew.labeling.annotation.label_graph import no_scores
        >>> predictions = Predictions(no_scores(3))
        >>> is_open = {1, 2}.__contains__
        >>> choose_item(
        ...     predictions, is_open=is_open, skipped=(), queue=(0, 2), turn=0, check_every=5
        ... )
        Choice(item=2, is_check=False)
    """
    n_items = predictions.scores.sums.shape[1]

    def is_candidate(item: int) -> bool:
        return item not in skipped and is_open(item)

    if check_every and turn % check_every == check_every - 1:
        item = _random_item(n_items, is_candidate, turn)
        if item is not None:
            return Choice(item, is_check=True)
    for item in queue:
        if is_candidate(item):
            return Choice(item)
    if predictions.class_ids:
        margin = predictions.margin
        for item in margin.topk(min(N_UNCERTAIN, n_items), largest=False).indices.tolist():
            if is_candidate(item):
                return Choice(item)
    item = _random_item(n_items, is_candidate, turn)
    if item is None:
        item = next(filter(is_open, skipped), None)
    return None if item is None else Choice(item)


def choose_grid(
    predictions: Predictions, class_id: int, n_items: int, *, is_open: Callable[[int], bool]
) -> list[int]:
    """Choose items that are predicted as a class.

    Args:
        predictions: for all items.
        class_id: number of the class.
        n_items: the largest number of items.
        is_open: whether an item is undecided and on no other page.

    Returns:
        Indices of items, the most confident first.
    """
    if class_id not in predictions.class_ids:
        return []
    confidence, column = predictions.top
    is_predicted = column == predictions.class_ids.index(class_id)
    members = torch.nonzero(is_predicted).flatten()
    order = confidence[members].argsort(descending=True, stable=True)
    grid: list[int] = []
    for item in members[order].tolist():
        if len(grid) == n_items:
            break
        if is_open(item):
            grid.append(item)
    return grid


def _random_item(n_items: int, is_candidate: Callable[[int], bool], turn: int) -> int | None:
    """A random candidate, the same for the same turn."""
    generator = random.Random(turn)
    # Most items are candidates, except at the end, when all are looked at.
    for _ in range(50):
        item = generator.randrange(n_items)
        if is_candidate(item):
            return item
    candidates = [item for item in range(n_items) if is_candidate(item)]
    return generator.choice(candidates) if candidates else None
