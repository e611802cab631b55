"""Pretraining of an encoder: classification of all base classes at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from graphfew._utils.model_spec import JSON
from graphfew._utils.seeding import seeded
from graphfew.data import Dataset
from graphfew.data.augment import Augmentation
from graphfew.data.augmented_tasks import augment_images
from graphfew.errors import InvalidInputError

N_ROTATIONS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationBatch:
    """Items to classify, outside any few-shot task.

    Attributes:
        x: `[N, ...]`, the items.
    """

    x: Tensor

    def to(self, *args: Any, **kwargs: Any) -> ClassificationBatch:
        """Return the batch after `Tensor.to`."""
        return ClassificationBatch(self.x.to(*args, **kwargs))


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationOutput:
    """Output of a `Classifier`.

    Attributes:
        logits: `[N, classes]`.
    """

    logits: Float[Tensor, "N classes"]


@final
class Classifier(nn.Module):
    """Encoder with a cosine classifier: scaled cosine similarity to a weight vector per class.

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: number of features per item.
        classes: number of classes.
        scale: initial value of the learned scale.
        seed: seed of the initial weight vectors.

    Example:
        >>> import graphfew as gf
        >>> model = gf.training.Classifier(gf.backbones.identity(5), dim=5, classes=3)
        >>> model(gf.training.pretrain.ClassificationBatch(torch.ones(2, 5))).logits.shape
        torch.Size([2, 3])

    Source:
        Gidaris, Komodakis, 2018, Dynamic Few-Shot Visual Learning without Forgetting; Chen et
        al., 2019, A Closer Look at Few-shot Classification (Baseline++).

    Deviations:
        Only the first stage, which trains the encoder.
    """

    def __init__(
        self, encoder: nn.Module, dim: int, classes: int, *, scale: float = 10.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        with seeded(seed):
            self.weights = nn.Parameter(functional.normalize(torch.randn(classes, dim), dim=1))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, batch: ClassificationBatch) -> ClassificationOutput:
        """Compute the logits `[N, classes]` of a batch."""
        features = functional.normalize(self.encoder(batch.x), dim=1)
        class_vectors = functional.normalize(self.weights, dim=1)
        return ClassificationOutput(self.scale * features @ class_vectors.T)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationBatches:
    """Batches of a data set's items for `train`, shuffled in each epoch.

    Attributes:
        data: the data set.
        seed: seed of the order, of rotations and of augmentation.
        augment: random augmentation of images; None for none.
        turns: rotate each square image by a random multiple of 90°; each rotation of a class is
            a separate class.

    Raises:
        InvalidInputError: if `turns` is set and the items are not square images.

    Example:
        >>> import graphfew as gf
        >>> batches = gf.training.ClassificationBatches(gf.data.digits(), turns=True)
        >>> items, target = batches.batch(range(16))
        >>> items.x.shape, batches.classes
        (torch.Size([16, 1, 28, 28]), 40)

    Source:
        Rotations: Lee, Hwang, Shin, 2020, Self-supervised Label Augmentation via Input
        Transformations (joint labels).

    Deviations:
        One random rotation per image, instead of all four in each batch.
    """

    data: Dataset
    seed: int = 0
    augment: Augmentation | None = None
    turns: bool = False

    def __post_init__(self) -> None:
        shape = tuple(self.data.x.shape[1:])
        if self.turns and (len(shape) != 3 or shape[1] != shape[2]):
            raise InvalidInputError(
                f"turns=True needs square images [c, h, h]; {self.data!r} has items of shape {shape}"
            )

    @property
    def classes(self) -> int:
        """Number of classes to distinguish."""
        return len(self.data.classes) * (N_ROTATIONS if self.turns else 1)

    def batch(self, indices: range) -> tuple[ClassificationBatch, Int[Tensor, " N"]]:
        """Return a batch of the endless sequence of epochs.

        Args:
            indices: positions in the sequence.

        Returns:
            The items and their classes `[N]`.

        Raises:
            InvalidInputError: if items to augment are not images.
        """
        item, rotation = self._positions(indices)
        x = self.data.gather(item)
        y = self.data.y[torch.from_numpy(item)]
        if self.turns:
            rotated = []
            for image, quarter_turns in zip(x, rotation, strict=True):
                rotated.append(torch.rot90(image, int(quarter_turns), (1, 2)))
            x = torch.stack(rotated)
            # Class c, rotated r times, is class 4 c + r.
            y = y * N_ROTATIONS + torch.from_numpy(rotation)
        if self.augment is not None:
            # Each item is augmented independently, as if it were a separate task.
            x = augment_images(self.augment, x, torch.arange(len(x)), self.seed, indices)
        return ClassificationBatch(x), y

    def _positions(self, indices: range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Item index and number of quarter turns at positions of the endless sequence."""
        n = len(self.data)
        # A batch may reach from one epoch into the next; positions count from the first of them.
        first_epoch, last_epoch = indices[0] // n, indices[-1] // n
        epochs = range(first_epoch, last_epoch + 1)
        orders = np.concatenate([_epoch_order(self.seed, epoch, n) for epoch in epochs], axis=1)
        item, rotation = orders[:, np.asarray(indices) - first_epoch * n]
        return item, rotation

    def describe(self) -> Mapping[str, JSON]:
        """Return data set, split, number of classes and augmentation, as JSON values."""
        return {
            "data": self.data.name,
            "split": self.data.split,
            "classes": self.classes,
            "turns": self.turns,
            "augment": None if self.augment is None else self.augment.name,
            "seed": self.seed,
        }


def class_loss(output: ClassificationOutput, target: Int[Tensor, " N"]) -> Float[Tensor, ""]:
    """Compute the cross-entropy of a classifier's logits.

    Args:
        output: logits `[N, classes]`.
        target: `[N]` int64, the classes.

    Returns:
        The mean loss, a scalar.

    Example:
        >>> import graphfew as gf
        >>> output = gf.training.pretrain.ClassificationOutput(torch.zeros(2, 4))
        >>> round(gf.class_loss(output, torch.tensor([0, 3])).item(), 4)
        1.3863
    """
    return functional.cross_entropy(output.logits, target)


# Consecutive batches use the same epoch, or two neighboring ones.
@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """`[2, n]`: the items of an epoch in order, and a number of quarter turns for each."""
    rng = np.random.default_rng((seed, epoch))
    # Rotations are drawn after the permutation, so the order is the same without them.
    return np.stack([rng.permutation(n), rng.integers(N_ROTATIONS, size=n)])
