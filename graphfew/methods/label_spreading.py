"""Label spreading: local and global consistency on a graph of features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch
from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.methods._propagation_graph import (
    EPSILON,
    Affinity,
    PropagationLayer,
    edge_weights,
    propagation_method,
    receive_only_nodes,
)
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.propagation.affinity import cosine_power, symmetric_normalize
from graphfew.propagation.solvers import DENSE_NODES, dense_propagation, spread_labels


def spreading_scores(tasks: DenseBatch, alpha: float, steps: int | None) -> Tensor:
    """Spread the labels of each task and return the class scores `[G, n, way]`.

    Args:
        tasks: tasks as dense arrays, with edge weights.
        alpha: weight of the neighbors, in `(0, 1)`.
        steps: number of iterations; None solves for the limit.
    """
    weights = edge_weights(tasks)
    # Queries in inductive mode receive without sending. They have no symmetric normalization, so
    # they take the weighted mean of their neighbors, as in label_propagation.
    is_receive_only = receive_only_nodes(weights)
    row_normalized = weights / weights.sum(2, keepdim=True).clamp_min(EPSILON)
    normalized = torch.where(is_receive_only, row_normalized, symmetric_normalize(weights))
    operator = alpha * normalized
    # Columns sum to 1, so that a class with more shots is not favored.
    label = tasks.one_hot / tasks.one_hot.sum(1, keepdim=True)
    if steps is None:
        return dense_propagation(operator, label)
    scores = label
    for _ in range(steps):
        scores = torch.bmm(operator, scores) + (1 - alpha) * label
    return scores


@register_method(paper="Zhou et al. 2004", transductive=True, unlabeled=True)
def label_spreading(
    encoder: nn.Module,
    *,
    dim: int,
    alpha: float = 0.8,
    steps: int | None = None,
    affinity: Affinity = cosine_power,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    transductive: bool = True,
) -> GraphMethod:
    """Local and global consistency: labels spread over the normalized affinity graph.

    A task with more than 3,000 nodes is solved by conjugate gradients on the sparse neighbor
    graph, with the same result and linear memory. Pass such a task alone; it has no gradient.

    Formula:
        S = D^-½ W D^-½,  W_ij the affinity of i and j, D the row sums of W
        F = (I - αS)⁻¹ Y,  up to a factor the limit of F ← αSF + (1-α)Y;  columns of Y sum to 1
        logit_qk = log(F_qk / Σ_c F_qc)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        alpha: weight of the neighbors in a node's scores, in `(0, 1)`; 0.99 in the paper, which
            carries labels far along weak edges.
        steps: number of iterations `F ← αSF + (1-α)Y` from `F = Y`; None uses the limit, in closed
            form.
        affinity: function from tasks as dense arrays to edge weights `[G, n, n]`, which are zero
            on the diagonal and from nodes that send nothing.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        transductive: queries are nodes like unlabeled ones. Otherwise labels spread among supports
            and unlabeled nodes only, and each query averages its neighbors there.

    Returns:
        A `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `alpha` is outside `(0, 1)`, `steps` is below 1, or `center` has the
            wrong length; later, if `steps` is given and a task is too large for dense arrays.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("label_spreading", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, Learning with Local and Global Consistency.

    Deviations:
        `alpha` is 0.8. Columns of Y sum to 1, so that a class with more shots is not favored. The
        affinity is configurable (a kernel of one width in the paper). Features are centered and
        normalized to length 1.
    """
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha must be between 0 and 1 (exclusive), got {alpha}")
    if steps is not None and steps < 1:
        raise InvalidInputError(f"steps must be at least 1, or None for the limit, got {steps}")

    def solve(tasks: DenseBatch) -> Tensor:
        return spreading_scores(tasks, alpha, steps)

    def previous_scores(tasks: DenseBatch) -> Tensor:
        # A query's last step averages what its neighbors had before that step.
        assert steps is not None
        return spreading_scores(tasks, alpha, steps - 1)

    def sparse_solve(topology: Topology, weights: Tensor, label: Tensor) -> Tensor:
        if steps is not None:
            raise InvalidInputError(
                f"steps must be None for tasks with more than {DENSE_NODES} nodes, got {steps}; "
                "such tasks are solved for the limit"
            )
        return spread_labels(topology, weights, label / label.sum(0), alpha)

    return propagation_method(
        encoder,
        PropagationLayer(solve, sparse_solve, None if steps is None else previous_scores),
        dim=dim,
        affinity=affinity,
        power=power,
        center=center,
        transductive=transductive,
    )
