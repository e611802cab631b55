"""Pretraining an encoder by classification of all base classes at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from graphfew._utils.model_spec import JSON
from graphfew._utils.seeding import seeded
from graphfew.data import Dataset
from graphfew.data.augment import Augment, changed

TURNS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Items:
    """Items to classify, `x [N, ...]`; they stand in no task."""

    x: Tensor

    def to(self, *args: Any, **kwargs: Any) -> Items:
        """As `Tensor.to`."""
        return Items(self.x.to(*args, **kwargs))


@dataclasses.dataclass(frozen=True, eq=False)
class Classes:
    """What a classifier says: `logits [N, classes]`."""

    logits: Float[Tensor, "N classes"]


@final
class Classifier(nn.Module):
    """Cosine similarity to a learned vector of each class, times a learned scale.

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: features per item.
        classes: number of classes.
        scale: where the factor begins.
        seed: of the vectors' first values.

    Source: Gidaris, Komodakis, 2018, Dynamic Few-Shot Visual Learning without Forgetting; Chen et al., 2019, A Closer
    Look at Few-shot Classification (Baseline++).

    Deviations: only the first stage, which trains the encoder.
    """

    def __init__(
        self, encoder: nn.Module, dim: int, classes: int, *, scale: float = 10.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        with seeded(seed):
            self.weights = nn.Parameter(functional.normalize(torch.randn(classes, dim), dim=1))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, items: Items) -> Classes:
        """`logits [N, classes]`."""
        features = functional.normalize(self.encoder(items.x), dim=1)
        return Classes(self.scale * features @ functional.normalize(self.weights, dim=1).T)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationBatches:
    """All items of a data set, epoch after epoch, each in another random order: a source of batches for `train`.

    Attributes:
        augment: changes images at random; None leaves them.
        turns: each item is an image turned by a random quarter, and each class counts as four, one for each quarter.

    Source: turns: Lee, Hwang, Shin, 2020, Self-supervised Label Augmentation via Input Transformations (joint labels).

    Deviations: one random turn of each image, not all four in every batch.

    Raises:
        ValueError: turns of items that are not square images.
    """

    data: Dataset
    seed: int = 0
    augment: Augment | None = None
    turns: bool = False

    def __post_init__(self) -> None:
        shape = tuple(self.data.x.shape[1:])
        if self.turns and (len(shape) != 3 or shape[1] != shape[2]):
            raise ValueError(
                f"turns needs square images [c, h, h]; {self.data!r} has items of shape {shape}"
            )

    @property
    def classes(self) -> int:
        """Number of classes to tell apart."""
        return len(self.data.classes) * (TURNS if self.turns else 1)

    def batch(self, indices: range) -> tuple[Items, Int[Tensor, " N"]]:
        """Item number `i` of the endless series for each index, and its class `[N]`.

        Raises:
            ValueError: an augmentation of items that are not images.
        """
        n = len(self.data)
        epochs = [
            _order(self.seed, epoch, n) for epoch in range(indices[0] // n, indices[-1] // n + 1)
        ]
        first = indices[0] // n * n
        item, turn = np.concatenate(epochs, axis=1)[:, np.asarray(indices) - first]
        x, y = self.data.gather(item), self.data.y[torch.from_numpy(item)]
        if self.turns:
            x = torch.stack(
                [
                    torch.rot90(one, int(quarter), (1, 2))
                    for one, quarter in zip(x, turn, strict=True)
                ]
            )
            y = y * TURNS + torch.from_numpy(turn)
        alone = torch.arange(len(x))
        return Items(
            x if self.augment is None else changed(self.augment, x, alone, self.seed, indices)
        ), y

    def describe(self) -> Mapping[str, JSON]:
        """Data set, split and how items are changed."""
        return {
            "data": self.data.name,
            "split": self.data.split,
            "classes": self.classes,
            "turns": self.turns,
            "augment": None if self.augment is None else self.augment.name,
            "seed": self.seed,
        }


def class_loss(output: Classes, target: Int[Tensor, " N"]) -> Float[Tensor, ""]:
    """Cross-entropy of the classes."""
    return functional.cross_entropy(output.logits, target)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """`[2, n]`: the items of an epoch in order, and a quarter turn for each."""
    rng = np.random.default_rng((seed, epoch))
    return np.stack([rng.permutation(n), rng.integers(TURNS, size=n)])
