"""The graph method around gradient descent on a network, for methods that adapt their encoder."""

from __future__ import annotations

from torch import nn

from graphfew.methods._checks import combine_checks, require_labeled, require_way
from graphfew.nn.batch_norm_rules import BatchNormRule, transductive_moments
from graphfew.nn.class_scores import class_score_graph
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.task_adaptation import TaskAdaptation


def adaptation_method(
    name: str,
    encoder: nn.Module,
    condition: TaskAdaptation,
    *,
    way: int | None,
    batch_norm: BatchNormRule,
) -> GraphMethod:
    """Return a method whose predictions are the class scores of networks adapted to each task.

    Args:
        name: of the method, for errors.
        encoder: `[N, ...] -> [N, F]`.
        condition: the adaptation.
        way: number of classes of every task; None for any.
        batch_norm: moments of the batch norms; `transductive_moments` make the method transductive.
    """
    checks = [require_labeled(name)]
    if way is not None:
        checks.append(require_way(name, way))
    return GraphMethod(
        encoder,
        class_score_graph,
        [],
        class_node_logits,
        transductive=batch_norm is transductive_moments,
        independent_queries=True,
        check=combine_checks(*checks),
        condition=condition,
    )
