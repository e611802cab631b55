"""The evaluation contract, asserted on a model before its numbers are believed."""

from __future__ import annotations

import torch
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.errors import ContractError
from graphfew.nn.method import GraphMethod

# Of the spread of the probabilities: sums in another order move them by far less, a leak by far more. The floor is for
# answers that are all but equal, where float32 has no more to give.
TOLERANCE, FLOOR = 1e-3, 1e-6


def check_contract(model: GraphMethod, episode: Episode, *, transductive_bn: bool = False) -> None:
    """Check that reordering nodes reorders answers, that tasks of a batch do not meet, and that an inductive model
    answers each query alone. A method that reads its supports in order keeps them in theirs.

    Args:
        model: a method in evaluation mode (see `evaluating`).
        episode: one or more tasks; the first is used, and the second for what tasks must not share.
        transductive_bn: batch norm is declared to see the batch, so only the order is checked.

    Raises:
        ContractError: an answer moved by more than 0.001 of the spread of the probabilities.
    """
    task = episode.take([0])
    logits = model(task).logits
    order = torch.arange(len(task.y) - 1, -1, -1, device=task.y.device)
    if model.node_order_matters:
        order = torch.cat([torch.nonzero(task.labeled).flatten(), order[~task.labeled[order]]])
    _same(
        model(_reorder(task, order)).logits.flip(0),
        logits,
        "the answers change when the task's nodes are given in another order",
    )
    if transductive_bn:
        return
    if not model.transductive and sum(task.n_queries) > 1:
        alone = [model(_only(task, q)).logits for q in torch.nonzero(task.query).flatten()[:3]]
        _same(
            torch.cat(alone),
            logits[:3],
            "an inductive answer changes when the other queries are taken away",
        )
    if episode.n_tasks > 1:
        both = model(episode.take([0, 1])).logits[: len(logits), : logits.shape[1]]
        _same(both, logits, "the answers to a task change when another task is in the batch")


def _reorder(task: Episode, order: Tensor) -> Episode:
    return Episode(task.x[order], task.y[order], task.query[order], task.sizes, task.way)


def _only(task: Episode, query: Tensor) -> Episode:
    keep = ~task.query
    keep[query] = True
    return Episode.single(task.x[keep], task.y[keep], task.query[keep], task.way[0])


def _same(a: Tensor, b: Tensor, complaint: str) -> None:
    before, after = b.softmax(1), a.softmax(1)
    apart, spread = (after - before).abs().max().item(), (before.max() - before.min()).item()
    if not apart <= TOLERANCE * spread + FLOOR:
        raise ContractError(
            f"{complaint} (by {apart:.3g} in probability); the accuracy would not mean what it says"
        )
