"""Tasks with augmented images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew._utils.seeding import torch_generator
from graphfew.core.episode import Episode
from graphfew.core.node_layout import task_index
from graphfew.data.augment import Augmentation
from graphfew.data.sources import BatchSource, FeedbackSource, TaskSource
from graphfew.errors import InvalidInputError


@dataclasses.dataclass(frozen=True, eq=False)
class AugmentedTasks:
    """Tasks with randomly changed images.

    The changes depend on `seed` and on the indices of a batch alone, so training that is resumed
    from a checkpoint sees the same images. `train` reports losses to a `FeedbackSource` inside.

    Args:
        tasks: source of tasks of images, `[N, c, h, w]`.
        augmentation: the random transform.
        seed: seed of the transform.

    Example:
        >>> import graphfew as gf
        >>> tasks = gf.Tasks(gf.data.digits())
        >>> tasks = AugmentedTasks(tasks, gf.data.augment.affine(), seed=1)
        >>> episode, target = tasks.batch(range(2))
        >>> episode.n_tasks
        2
    """

    tasks: TaskSource
    augmentation: Augmentation
    seed: int = 0

    def batch(self, indices: range) -> tuple[Episode, Tensor]:
        """Return tasks as one episode, with every image changed.

        Args:
            indices: numbers of the tasks.

        Returns:
            The episode, and the class index of each query, `[Q]` int64.

        Raises:
            InvalidInputError: the items are not images.
        """
        episode, target = self.tasks.batch(indices)
        # On the CPU, where the transforms draw their random numbers.
        task = task_index(episode.sizes, torch.device("cpu"))
        # `encode` only replaces the items, so it serves for changed images as well as for features.
        augmented = episode.encode(
            lambda images: augment_images(self.augmentation, images, task, self.seed, indices)
        )
        return augmented, target

    def describe(self) -> Mapping[str, JSON]:
        """Return the description of the tasks, and the name of the augmentation."""
        tasks: Any = self.tasks  # `describe` is not part of the protocol
        return {**tasks.describe(), "augment": self.augmentation.name}


def find_feedback_source(tasks: BatchSource) -> FeedbackSource | None:
    """Find the source that losses are reported to, also inside of `AugmentedTasks`.

    Args:
        tasks: a source of batches.

    Returns:
        The `FeedbackSource`, or None.

    Example:
        >>> import graphfew as gf
        >>> source = gf.data.ChamlTasks(gf.Tasks(gf.data.digits()))
        >>> find_feedback_source(AugmentedTasks(source, gf.data.augment.flip())) is source
        True
    """
    while isinstance(tasks, AugmentedTasks):
        tasks = tasks.tasks
    return tasks if isinstance(tasks, FeedbackSource) else None


def augment_images(
    augmentation: Augmentation, images: Tensor, task: Tensor, seed: int, indices: range
) -> Tensor:
    """Change images at random, as a function of `seed` and of the first and last index.

    Args:
        augmentation: the random transform.
        images: `[N, c, h, w]` in 0..1.
        task: `[N]` number of each image's task, ascending from 0.
        seed: seed of the transform.
        indices: indices of the batch.

    Returns:
        `[N, c, h, w]` changed images.

    Raises:
        InvalidInputError: the items are not images.

    Example:
        >>> import graphfew as gf
        >>> images, task = torch.rand(2, 1, 8, 8), torch.tensor([0, 0])
        >>> flip = gf.data.augment.flip()
        >>> augment_images(flip, images, task, seed=0, indices=range(1)).shape
        torch.Size([2, 1, 8, 8])
    """
    check_images(augmentation, images)
    # SeedSequence mixes its input, so that neighboring seeds and indices give unrelated numbers.
    sequence = np.random.SeedSequence((seed, indices[0], indices[-1]))
    return augmentation.transform(images, task, torch_generator(sequence))


def check_images(augmentation: Augmentation, items: Tensor) -> None:
    """Raise InvalidInputError if items `[N, ...]` are not images."""
    if items.ndim != 4:
        raise InvalidInputError(
            f"items have shape {tuple(items.shape[1:])}, but {augmentation.name} needs images "
            "[c, h, w]; omit the augmentation"
        )
