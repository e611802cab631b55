"""The evaluation contract: what must not change a model's predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.errors import ContractError
from graphfew.nn.method import GraphMethod

# Largest allowed change, relative to the range of the probabilities. Summation in another order
# stays far below it, leakage is far above. The floor is for nearly uniform predictions, where
# float32 rounding dominates.
RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-6
# Queries that are predicted alone to check an inductive model.
MAX_SINGLE_QUERIES = 3


def check_contract(model: GraphMethod, episode: Episode, *, transductive_bn: bool = False) -> None:
    """Check on an episode that a model satisfies the evaluation contract.

    Three properties are checked: reordering the nodes of a task reorders its predictions; an
    inductive model predicts each query as it does without the others; a task's predictions do not
    depend on the other tasks of the batch. If the method reads its support set in order
    (`model.node_order_matters`), only the other nodes are reordered.

    Args:
        model: a method in evaluation mode (see `eval_mode`).
        episode: one or more tasks. The first task is checked; the second, if there is one, serves
            as the other task of the batch.
        transductive_bn: batch norm is declared to use batch statistics, so only the first property
            is checked.

    Raises:
        ContractError: a probability changes by more than 0.001 of the range of the probabilities.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(4), torch.tensor([0, 1, -1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(4))
        >>> with gf.nn.eval_mode(model):
        ...     gf.evaluation.check_contract(model, episode)
    """
    task = episode.take([0])
    logits = model(task).logits
    _check_order(model, task, logits)
    if transductive_bn:
        return
    if not model.transductive and sum(task.n_queries) > 1:
        _check_single_queries(model, task, logits)
    if episode.n_tasks > 1:
        _check_other_task(model, episode, logits)


def _check_order(model: GraphMethod, task: Episode, logits: Tensor) -> None:
    order = torch.arange(len(task.y) - 1, -1, -1, device=task.y.device)
    if model.node_order_matters:
        # Some methods read the support as a sequence; only the other nodes are reversed then.
        support = torch.nonzero(task.labeled).flatten()
        order = torch.cat([support, order[~task.labeled[order]]])
    reordered = Episode(task.x[order], task.y[order], task.query[order], task.sizes, task.way)
    _check_equal(
        model(reordered).logits.flip(0),
        logits,
        "predictions change when the task's nodes are given in another order",
    )


def _check_single_queries(model: GraphMethod, task: Episode, logits: Tensor) -> None:
    queries = torch.nonzero(task.query).flatten()[:MAX_SINGLE_QUERIES]
    alone = torch.cat([model(_with_single_query(task, int(query))).logits for query in queries])
    _check_equal(
        alone,
        logits[: len(queries)],
        "an inductive prediction changes when the other queries are removed",
    )


def _check_other_task(model: GraphMethod, episode: Episode, logits: Tensor) -> None:
    two_tasks = model(episode.take([0, 1])).logits
    n_queries, way = logits.shape
    _check_equal(
        # The batch pads logits to the largest way of its tasks.
        two_tasks[:n_queries, :way],
        logits,
        "predictions of a task change when another task is in the batch",
    )


def _with_single_query(task: Episode, query: int) -> Episode:
    keep = ~task.query
    keep[query] = True
    return Episode.single(task.x[keep], task.y[keep], task.query[keep], task.way[0])


def _check_equal(logits: Tensor, expected: Tensor, violation: str) -> None:
    probs, expected_probs = logits.softmax(1), expected.softmax(1)
    change = (probs - expected_probs).abs().max().item()
    value_range = (expected_probs.max() - expected_probs.min()).item()
    # Negated so that NaN is a violation.
    if not change <= RELATIVE_TOLERANCE * value_range + ABSOLUTE_TOLERANCE:
        raise ContractError(
            f"{violation} (by {change:.3g} in probability), so the accuracy would be meaningless; "
            "make the predictions independent of it"
        )
