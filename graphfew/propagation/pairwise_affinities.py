"""Balanced pairwise affinities: features that describe a node by its relation to all others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, map_to_nodes
from graphfew.core.episode import Episode
from graphfew.errors import InvalidInputError


def balanced_pairwise_affinities(
    episode: Episode,
    regularization: float = 0.1,
    num_iterations: int = 10,
    *,
    use_labels: bool = True,
) -> Episode:
    """Replace the features of each node by its affinities to all nodes of the task.

    Formula:
        P = diag(r) exp(cos(x_i, x_j) / ε) diag(c) for i ≠ j,  P_ii = 0
        r, c by Sinkhorn's algorithm, so that rows and columns of P sum to 1
        x_ij ← P_ij / max P,  for i ≠ j;  x_ii ← 1
        x_ij ← 1 for two supports of one class, 0 for two supports of different classes

    The features of a node have one entry per node of its task, in the order of the nodes; tasks
    with fewer nodes than the largest are padded with zeros. Distances and cosines within a task are
    comparable, single features are not, so a method with weights for each feature cannot use them.

    Args:
        episode: an encoded episode, `x [N, F]`.
        regularization: ε, the temperature of the affinities.
        num_iterations: iterations of Sinkhorn's algorithm.
        use_labels: whether affinities between supports are those of their labels.

    Returns:
        The episode with `x [N, max(sizes)]`, values from 0 to 1.

    Raises:
        InvalidInputError: `regularization` is not positive or `num_iterations` is below 1.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> gf.propagation.balanced_pairwise_affinities(episode).x.round(decimals=2)[0].tolist()
        [1.0, 0.0, 1.0]

    Source:
        Shalam, Korman, 2024, The Balanced-Pairwise-Affinities Feature Transform.

    Deviations:
        Every task has a fixed number of iterations and its own scale (in the published code, a
        batch stops together and has other marginals than a single task). Sinkhorn's algorithm runs
        on logarithms.
    """
    if not regularization > 0:
        raise InvalidInputError(f"regularization must be positive, got {regularization}")
    if num_iterations < 1:
        raise InvalidInputError(f"num_iterations must be at least 1, got {num_iterations}")
    width = max(episode.sizes)

    def affinities(tasks: DenseBatch) -> Tensor:
        values = _balanced_affinities(tasks.x, regularization, num_iterations)
        if use_labels:
            both_labeled = tasks.labeled[:, :, None] & tasks.labeled[:, None]
            same_class = torch.bmm(tasks.one_hot, tasks.one_hot.mT)
            values = torch.where(both_labeled, same_class, values)
        diagonal = torch.eye(values.shape[1], dtype=torch.bool, device=values.device)
        values = values.masked_fill(diagonal, 1.0)
        return F.pad(values, (0, width - values.shape[2]))

    x = map_to_nodes(episode, affinities)
    return episode.encode(lambda _: x)


def _balanced_affinities(x: Tensor, regularization: float, num_iterations: int) -> Tensor:
    """Return balanced affinities without self-loops, with maximum 1 in each task, `[G, n, n]`."""
    # In float64, because the rounding of the iterations would depend on the order of the nodes, and
    # methods that iterate on these features amplify it.
    unit = F.normalize(x.double(), dim=2)
    log_affinity = torch.bmm(unit, unit.mT) / regularization
    n = x.shape[1]
    diagonal = torch.eye(n, dtype=torch.bool, device=x.device)
    log_affinity = log_affinity.masked_fill(diagonal, -torch.inf)
    for _ in range(num_iterations):
        log_affinity = log_affinity - log_affinity.logsumexp(2, keepdim=True)
        log_affinity = log_affinity - log_affinity.logsumexp(1, keepdim=True)
    largest = log_affinity.amax((1, 2), keepdim=True)
    return (log_affinity - largest).exp().to(x.dtype)
