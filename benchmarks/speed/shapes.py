"""Episodes with random features, in the shapes of the speed benchmarks."""

from __future__ import annotations

import torch

import graphfew as gf

DIM = 128


def episode(
    way: int, shot: int, queries: int, tasks: int, dim: int = DIM, seed: int = 0
) -> tuple[gf.Episode, torch.Tensor]:
    """Tasks of `way * (shot + queries)` nodes of `dim` features each, and the targets."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(way).repeat(shot + queries)
    query = torch.arange(len(label)) >= way * shot
    y = label.masked_fill(query, -1).repeat(tasks)
    x = torch.randn(tasks * len(label), dim, generator=generator)
    batch = gf.Episode(x, y, query.repeat(tasks), (len(label),) * tasks, (way,) * tasks)
    return batch, label[query].repeat(tasks)


def pairs(episode: gf.Episode) -> int:
    """Unordered pairs of distinct nodes of the same task."""
    return sum(n * (n - 1) // 2 for n in episode.sizes)
