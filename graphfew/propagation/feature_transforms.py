"""Features as methods without training want them: even in size, around a center, of length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, class_softmax, map_to_nodes, scale_sharpness
from graphfew.core.episode import Episode
from graphfew.ops.centering import center_tasks
from graphfew.propagation.class_priors import class_prior, unknown_mask

TINY = 1e-12


def check_center(center: Sequence[float] | None, dim: int) -> None:
    """Raises ValueError where a center has another number of values than the features, or one that is not finite."""
    if center is not None and (len(center) != dim or not all(math.isfinite(v) for v in center)):
        raise ValueError(
            f"the center has {len(center)} values and the encoder {dim} outputs; give a finite value for "
            f"each, such as the mean of the training classes' features"
        )


def power_normalize(
    episode: Episode, power: float, center: Sequence[float] | None, over: Tensor | None = None
) -> Episode:
    """The encoded episode with `x ← sign(x) |x|^power`, brought to length 1, centerd, and brought to length 1 again.

    Args:
        episode: encoded, `x [N, F]`.
        power: 1 leaves the values; 0.5 evens out features with few large ones, as rectified networks give.
        center: what to subtract, such as the mean of training features that went through the same first two steps; None
            takes the mean of each task's own nodes.
        over: `[N]` bool, the nodes that count in that mean; None for all.

    Source: Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot Learning.

    Deviations: one center for all nodes of a task (theirs has one for the supports and one for the queries, which are
    apart wherever the classes of the queries are not balanced); the power of a negative value keeps its sign.
    """
    x = _evened(episode.x, power)
    x = center_tasks(x, episode.sizes, over) if center is None else x - x.new_tensor(center)
    return episode.encode(lambda _: _unit(x))


def _evened(x: Tensor, power: float) -> Tensor:
    """`sign(x) |x|^power`, of length 1."""
    return _unit(x if power == 1 else x.sign() * x.abs().pow(power))


def _unit(x: Tensor) -> Tensor:
    # torch's own normalize takes twice as long on wide rows.
    out: Tensor = x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(TINY)
    return out


def adaptive_power_normalize(
    episode: Episode, power: float, prior: Sequence[float] | None = None, sharpness: float = 10.0
) -> Episode:
    """As `prepared`, around a center between the supports' mean, which any division of the queries leaves where it is,
    and the mean of all nodes, which says more where they are divided as the prior has it.

    Unknown nodes are first shared among the classes, by `exp(-sharpness d²)` to class means around the supports' mean.
    With π the mean share and p the prior, the center is as far from the one to the other as `exp(-KL(π, p))` is from
    0.7 to 0.9.

    Args:
        episode: encoded, `x [N, F]`.
        power: as of `prepared`.
        prior: proportions of the classes; None takes them as even.
        sharpness: among 5 classes; it grows with the logarithm of their number.

    Raises:
        ValueError: a prior of another way than the task.
    """
    x = _evened(episode.x, power)
    return episode.encode(
        lambda _: map_to_nodes(episode.encode(lambda _: x), lambda t: _poised(t, prior, sharpness))
    )


def _poised(tasks: DenseBatch, prior: Sequence[float] | None, sharpness: float) -> Tensor:
    shots = tasks.one_hot.sum(1)[..., None]
    middle = (torch.bmm(tasks.one_hot.mT, tasks.x) / shots).mean(1, keepdim=True)
    x = F.normalize(tasks.x - middle, dim=2)
    classes = F.normalize(torch.bmm(tasks.one_hot.mT, x) / shots, dim=2)
    free = unknown_mask(tasks)
    nearness = 2 * scale_sharpness(sharpness, tasks.one_hot.shape[2]) * torch.bmm(x, classes.mT)
    shares = (class_softmax(nearness) * free).sum(1) / free.sum(1)
    gap = (shares * (shares.clamp_min(TINY) / class_prior(prior, tasks.one_hot)).log()).sum(1)
    reach = (((-gap).exp() - 0.7) / 0.2).clamp(0, 1)[:, None, None]
    return F.normalize(tasks.x - middle - reach * (tasks.x.mean(1, keepdim=True) - middle), dim=2)


def project_to_principal_axes(
    episode: Episode, components: int, over: Tensor | None = None
) -> Episode:
    """The encoded episode with each task's `x` turned to the directions in which its rows are largest.

    `x` becomes `[N, components]`; where features or nodes are fewer than that, the rest is 0. Directions carry no
    gradient.

    Args:
        episode: encoded, `x [N, F]`.
        components: how many directions.
        over: `[N]` bool, the nodes that count for the directions; None for all.
    """
    x, counted = (
        episode.x,
        episode.x.detach() if over is None else episode.x.detach() * over[:, None],
    )
    tasks = zip(
        torch.split(x, list(episode.sizes)), torch.split(counted, list(episode.sizes)), strict=True
    )
    rows = [own @ _directions(basis, components) for own, basis in tasks]
    return episode.encode(lambda _: torch.cat(rows))


def _directions(rows: Tensor, components: int) -> Tensor:
    """`[F, components]` orthonormal, or zero columns where there are no more."""
    n, width = rows.shape
    square = rows @ rows.mT if n < width else rows.mT @ rows
    value, vector = (found.flip(-1)[..., :components] for found in torch.linalg.eigh(square))
    # Directions of rounding errors alone are none: which they are would depend on the order of the nodes.
    real = value > max(n, width) * torch.finfo(value.dtype).eps * value[:1]
    if n < width:
        vector = (rows.mT @ vector) / value.clamp_min(TINY).sqrt()
    return F.pad(vector * real, (0, components - len(value)))
