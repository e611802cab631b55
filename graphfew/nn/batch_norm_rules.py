"""Batch norm inside a network that is adapted to each task: which moments normalize which item.

A rule is a function `(norm, x, episode) -> (mean, variance)`, where `x [N, C, ...]` is the input of
the batch norm `norm` for the items of `episode`. Both moments are `[N, C]`, one row per item, or
`[1, C]` for all items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from graphfew.core.episode import Episode
from graphfew.errors import InvalidInputError

BatchNormRule = Callable[[nn.Module, Tensor, Episode], tuple[Tensor, Tensor]]
# From the position of a batch norm in the encoder, the batch norm and its input to its output.
Normalize = Callable[[int, nn.Module, Tensor], Tensor]


def support_moments(norm: nn.Module, x: Tensor, episode: Episode) -> tuple[Tensor, Tensor]:
    """Normalize all items of a task by the moments of its supports, under the adapted weights.

    Predictions are inductive.

    Args:
        norm: the batch norm; unused.
        x: its input, `[N, C, ...]`.
        episode: the tasks of the items.

    Returns:
        Mean and (biased) variance, `[N, C]`, or `[1, C]` for a single task.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.batch_norm_rules import support_moments
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.tensor([[0.0], [2.0], [9.0]]), y, y < 0, way=2)
        >>> support_moments(torch.nn.BatchNorm1d(1), episode.x, episode)
        (tensor([[1.]]), tensor([[1.]]))

    Source:
        Triantafillou et al., 2020, Meta-Dataset: A Dataset of Datasets for Learning to Learn from
        Few Examples; the published code.

    Deviations:
        none.
    """
    del norm
    is_support = ~episode.query
    # Without queries no selection is needed, which would copy the feature maps.
    supports = x[is_support] if any(episode.n_queries) else x
    if episode.n_tasks == 1:
        return channel_moments(supports)
    task = episode.task
    mean, variance = _group_moments(supports, task[is_support], episode.n_tasks)
    return mean[task], variance[task]


def running_moments(norm: nn.Module, x: Tensor, episode: Episode) -> tuple[Tensor, Tensor]:
    """Normalize all items by the running statistics of the encoder, which training leaves unchanged.

    Predictions are inductive. For a pretrained encoder.

    Args:
        norm: the batch norm.
        x: its input, `[N, C, ...]`; unused.
        episode: the tasks of the items; unused.

    Returns:
        Running mean and variance, `[1, C]`.

    Raises:
        InvalidInputError: the batch norm has no running statistics.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.batch_norm_rules import running_moments
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.zeros(3, 1), y, y < 0, way=2)
        >>> running_moments(torch.nn.BatchNorm1d(1), episode.x, episode)
        (tensor([[0.]]), tensor([[1.]]))
    """
    del x, episode
    mean, variance = running_statistics(norm)
    return mean[None], variance[None]


def transductive_moments(norm: nn.Module, x: Tensor, episode: Episode) -> tuple[Tensor, Tensor]:
    """Normalize supports by the moments of the supports, queries by those of the task's queries.

    The rule of the published code of MAML and MAML++. A prediction depends on the other queries of
    the task, so the model is transductive.

    Args:
        norm: the batch norm; unused.
        x: its input, `[N, C, ...]`.
        episode: the tasks of the items.

    Returns:
        Mean and (biased) variance, `[N, C]`.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.batch_norm_rules import transductive_moments
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.tensor([[0.0], [2.0], [9.0]]), y, y < 0, way=2)
        >>> transductive_moments(torch.nn.BatchNorm1d(1), episode.x, episode)[0]
        tensor([[1.],
                [1.],
                [9.]])

    Source:
        Finn, Abbeel, Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep
        Networks; the published code.

    Deviations:
        none.
    """
    del norm
    if episode.n_tasks == 1 and not any(episode.n_queries):
        return channel_moments(x)
    group = 2 * episode.task + episode.query
    mean, variance = _group_moments(x, group, 2 * episode.n_tasks)
    return mean[group], variance[group]


# The names by which specs and configurations store a rule.
BATCH_NORM_RULES: Mapping[str, BatchNormRule] = MappingProxyType(
    {rule.__name__: rule for rule in (support_moments, running_moments, transductive_moments)}
)


def batch_norms(encoder: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of an encoder, in the order of their registration."""
    return [module for module in encoder.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def replaced_batch_norms(norms: Sequence[nn.Module], normalize: Normalize) -> Iterator[None]:
    """Let a function compute the output of batch norms inside the block.

    Args:
        norms: the batch norms.
        normalize: `(index, norm, x) -> output`, `index` being the position in `norms`.
    """
    # In training mode a batch norm depends on the whole batch, so that the encoder neither splits
    # the batch nor fuses the batch norm into a convolution.
    modes = [norm.training for norm in norms]
    forwards = [vars(norm).get("forward") for norm in norms]
    try:
        for index, norm in enumerate(norms):
            norm.training = True
            norm.forward = _forward(index, norm, normalize)
        yield
    finally:
        for norm, mode, forward in zip(norms, modes, forwards, strict=True):
            norm.training = mode
            if forward is None:
                vars(norm).pop("forward", None)
            else:
                norm.forward = forward


def normalized(
    x: Tensor, mean: Tensor, variance: Tensor, eps: float, weight: Tensor, bias: Tensor
) -> Tensor:
    """Normalize, scale and shift the channels of items.

    Args:
        x: `[N, C, ...]`.
        mean: `[N, C]` or `[1, C]`, like the following.
        variance: variance without `eps`.
        eps: added to the variance.
        weight: factor on the normalized items.
        bias: shift after that.

    Returns:
        `[N, C, ...]`, in the dtype of `x`.
    """
    scale = weight * (variance + eps).rsqrt()
    shift = bias - mean * scale
    spatial = [1] * (x.ndim - 2)
    out: Tensor = torch.addcmul(
        shift.view(*shift.shape, *spatial), x, scale.view(*scale.shape, *spatial)
    )
    return out.to(x.dtype)


def running_statistics(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return running mean and variance `[C]` of a batch norm, or raise InvalidInputError."""
    mean, variance = norm.running_mean, norm.running_var
    if not (isinstance(mean, Tensor) and isinstance(variance, Tensor)):
        raise InvalidInputError(
            "a batch norm of the encoder has no running statistics; use support_moments, or an "
            "encoder with track_running_stats=True"
        )
    return mean, variance


def _forward(index: int, norm: nn.Module, normalize: Normalize) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        return normalize(index, norm, x)

    return forward


def _wide(x: Tensor) -> Tensor:
    """Return at least float32: autocast passes types whose sums are not accurate."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and (biased) variance of each channel of items `[N, C, ...]`, both `[1, C]`."""
    # As a matrix: torch reduces its rows several times faster than pixels of channels-last images.
    rows = _wide(x).movedim(1, -1).flatten(0, -2)
    mean = rows.mean(0, keepdim=True)
    return mean, (rows - mean).square().mean(0, keepdim=True)


def _group_moments(x: Tensor, group: Tensor, n_groups: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each group of items, both `[n_groups, C]`."""
    wide = _wide(x)
    # [N, C, P] with the P values of a channel that share its moments.
    values = wide.flatten(2) if x.ndim > 2 else wide[..., None]
    # A group without items gets moments of 0, which nothing reads.
    count = torch.bincount(group, minlength=n_groups).clamp_min(1)[:, None]
    zeros = values.new_zeros(n_groups, values.shape[1])
    mean = zeros.index_add(0, group, values.mean(2)) / count
    centered = values - mean[group][..., None]
    variance = zeros.index_add(0, group, centered.square().mean(2)) / count
    return mean, variance
