"""Normalization of features for training-free methods: power, centering, unit length, PCA."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, class_softmax, map_to_nodes, scale_sharpness
from graphfew.core.episode import Episode
from graphfew.errors import InvalidInputError
from graphfew.ops.centering import center_tasks
from graphfew.propagation.class_priors import class_prior, unknown_mask

TINY = 1e-12
# `adaptive_power_normalize` moves its center with the agreement exp(-KL) of proportions and prior:
# from no movement at 0.7 to the full distance at 0.9.
MIN_AGREEMENT, AGREEMENT_RANGE = 0.7, 0.2


def check_center(center: Sequence[float] | None, dim: int) -> None:
    """Check a feature center.

    Args:
        center: one number per feature, or None.
        dim: the encoder's output width.

    Raises:
        InvalidInputError: another number of values than `dim`, or one that is not finite.
    """
    if center is None:
        return
    if len(center) != dim or not all(math.isfinite(value) for value in center):
        raise InvalidInputError(
            f"the center has {len(center)} values and the encoder {dim} outputs; give a finite "
            f"value for each, such as the mean of the training classes' features"
        )


def power_normalize(
    episode: Episode,
    power: float,
    center: Sequence[float] | None,
    counted: Bool[Tensor, " N"] | None = None,
) -> Episode:
    """Apply a power to the features, normalize, center, and normalize again.

    Formula:
        x ← sign(x) |x|^power,  x ← x / ‖x‖,  x ← x - center,  x ← x / ‖x‖

    Args:
        episode: an encoded episode, `x [N, F]`.
        power: 1 changes nothing; 0.5 reduces the skew of non-negative features.
        center: what to subtract, such as the mean of training features after the first two steps;
            None for the mean of each task.
        counted: the nodes to average for that mean; None for all.

    Returns:
        The episode with features `[N, F]` of length 1.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[4.0, 0.0], [0.0, 9.0], [1.0, 0.0]])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> gf.propagation.power_normalize(episode, 0.5, center=[0.0, 0.0]).x.tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]

    Source:
        Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot
        Learning.

    Deviations:
        One center for all nodes of a task (the paper has one for supports and one for queries,
        which differ if the queries are imbalanced); the power of a negative value keeps its sign.
    """
    x = power_unit(episode.x, power)
    if center is not None:
        centered = x - x.new_tensor(center)
        return episode.encode(lambda _: unit_rows(centered))
    centered = center_tasks(x, episode.sizes, counted)
    return episode.encode(lambda _: unit_rows(centered))


def power_unit(x: Float[Tensor, "N F"], power: float) -> Float[Tensor, "N F"]:
    """Apply a power to features, with their signs, and scale them to length 1."""
    if power == 1:
        return unit_rows(x)
    return unit_rows(x.sign() * x.abs().pow(power))


def unit_rows(x: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
    """Scale features to length 1."""
    # F.normalize takes three times as long on wide rows: a division is slower than a product.
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(TINY)
    out: Tensor = x * norm.reciprocal()
    return out


def adaptive_power_normalize(
    episode: Episode, power: float, prior: Sequence[float] | None = None, sharpness: float = 10.0
) -> Episode:
    """Normalize as `power_normalize`, around a center that adapts to the class balance.

    The mean of the supports does not depend on the class balance of the queries; the mean of all
    nodes has less noise, but is a good center only if the queries follow the prior. Class
    proportions π are estimated by a soft assignment to class means, and the center moves from the
    first mean to the second as `exp(-KL(π, prior))` goes from 0.7 to 0.9.

    Args:
        episode: an encoded episode, `x [N, F]`.
        power: exponent of the features.
        prior: class proportions; None for uniform ones.
        sharpness: of the soft assignment, for 5 classes.

    Returns:
        The episode with features `[N, F]` of length 1.

    Raises:
        InvalidInputError: the prior has another number of classes than the task.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[4.0, 0.0], [0.0, 4.0], [4.0, 1.0]])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> gf.propagation.adaptive_power_normalize(episode, 1.0).x.norm(dim=1).round(decimals=3)
        tensor([1., 1., 1.])
    """
    scaled = episode.encode(lambda _: power_unit(episode.x, power))

    def recenter(tasks: DenseBatch) -> Tensor:
        return _center_adaptively(tasks, prior, sharpness)

    x = map_to_nodes(scaled, recenter)
    return episode.encode(lambda _: x)


def _center_adaptively(
    tasks: DenseBatch, prior: Sequence[float] | None, sharpness: float
) -> Tensor:
    shots = tasks.one_hot.sum(1)[..., None]
    support_mean = (torch.bmm(tasks.one_hot.mT, tasks.x) / shots).mean(1, keepdim=True)
    x = F.normalize(tasks.x - support_mean, dim=2)
    class_means = F.normalize(torch.bmm(tasks.one_hot.mT, x) / shots, dim=2)
    is_unknown = unknown_mask(tasks)
    # Rows have length 1, so twice the inner product is minus the squared distance, up to a
    # constant.
    scale = 2 * scale_sharpness(sharpness, tasks.one_hot.shape[2])
    scores = scale * torch.bmm(x, class_means.mT)
    proportions = (class_softmax(scores) * is_unknown).sum(1) / is_unknown.sum(1)
    log_ratio = (proportions.clamp_min(TINY) / class_prior(prior, tasks.one_hot)).log()
    divergence = (proportions * log_ratio).sum(1)
    agreement = (-divergence).exp()
    fraction = ((agreement - MIN_AGREEMENT) / AGREEMENT_RANGE).clamp(0, 1)[:, None, None]
    offset = tasks.x.mean(1, keepdim=True) - support_mean
    return F.normalize(tasks.x - support_mean - fraction * offset, dim=2)


def project_to_principal_axes(
    episode: Episode, components: int, counted: Bool[Tensor, " N"] | None = None
) -> Episode:
    """Project the features of each task onto its principal axes, without centering.

    Args:
        episode: an encoded episode, `x [N, F]`.
        components: number of axes.
        counted: the nodes that determine the axes; None for all.

    Returns:
        The episode with `x [N, components]`; components beyond the rank of the features are 0.
        The axes are constants for autograd.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, -1.0]])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> gf.propagation.project_to_principal_axes(episode, 1).x.abs().tolist()
        [[2.0], [1.0], [1.0]]
    """
    basis = episode.x.detach()
    if counted is not None:
        basis = basis * counted[:, None]
    sizes = list(episode.sizes)
    projected = []
    for rows, counted_rows in zip(
        torch.split(episode.x, sizes), torch.split(basis, sizes), strict=True
    ):
        projected.append(rows @ principal_axes(counted_rows, components))
    return episode.encode(lambda _: torch.cat(projected))


def principal_axes(rows: Float[Tensor, "N F"], components: int) -> Float[Tensor, "F components"]:
    """Return orthonormal columns; those beyond the rank are zero."""
    n, width = rows.shape
    # The smaller of the two Gram matrices has the same positive eigenvalues.
    gram = rows @ rows.mT if n < width else rows.mT @ rows
    eigenvalues, eigenvectors = torch.linalg.eigh(gram)
    values = eigenvalues.flip(-1)[:components]
    axes = eigenvectors.flip(-1)[..., :components]
    # Axes of rounding errors are dropped: they would depend on the order of the nodes.
    is_significant = values > max(n, width) * torch.finfo(values.dtype).eps * values[:1]
    if n < width:
        axes = (rows.mT @ axes) / values.clamp_min(TINY).sqrt()
    return F.pad(axes * is_significant, (0, components - len(values)))
