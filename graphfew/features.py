"""Features as methods without training want them: even in size, around a centre, of length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from graphfew.episode import Episode
from graphfew.graph import centred

TINY = 1e-12


def check_centre(centre: Sequence[float] | None, dim: int) -> None:
    """Raises ValueError where a centre has another number of values than the features, or one that is not finite."""
    if centre is not None and (len(centre) != dim or not all(math.isfinite(v) for v in centre)):
        raise ValueError(f"the centre has {len(centre)} values and the encoder {dim} outputs; give a finite value for "
                         f"each, such as the mean of the training classes' features")


def prepared(episode: Episode, power: float, centre: Sequence[float] | None) -> Episode:
    """The encoded episode with `x ← sign(x) |x|^power`, brought to length 1, centred, and brought to length 1 again.

    Args:
        episode: encoded, `x [N, F]`.
        power: 1 leaves the values; 0.5 evens out features with few large ones, as rectified networks give.
        centre: what to subtract, such as the mean of training features that went through the same first two steps; None
            takes the mean of each task's own nodes.

    Source: Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot Learning.

    Deviations: one centre for all nodes of a task (theirs has one for the supports and one for the queries, which are
    apart wherever the classes of the queries are not balanced); the power of a negative value keeps its sign.
    """
    x = _unit(episode.x if power == 1 else episode.x.sign() * episode.x.abs().pow(power))
    x = centred(episode, x) if centre is None else x - x.new_tensor(centre)
    return episode.encode(lambda _: _unit(x))


def _unit(x: Tensor) -> Tensor:
    # torch's own normalize takes twice as long on wide rows.
    out: Tensor = x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(TINY)
    return out
