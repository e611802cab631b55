"""A tiny task source: Gaussian classes, every task from its own seed."""

import dataclasses

import torch

import graphfew as gf


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """Tasks of `dim` features; classes are `apart` standard deviations apart."""

    way: int = 3
    shot: int = 1
    query: int = 2
    dim: int = 4
    apart: float = 2.0
    seed: int = 0

    def batch(self, indices):
        parts = [self.task(i) for i in indices]
        return gf.collate([e for e, _ in parts]), torch.cat([t for _, t in parts])

    def task(self, index):
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        label = torch.arange(self.way).repeat(self.shot + self.query)
        query = torch.arange(len(label)) >= self.way * self.shot
        centers = self.apart * torch.randn(self.way, self.dim, generator=generator)
        x = centers[label] + torch.randn(len(label), self.dim, generator=generator)
        return gf.Episode.single(x, label.masked_fill(query, -1), query, self.way), label[query]

    def describe(self):
        return dataclasses.asdict(self)
