"""UMTRA: tasks of unlabeled items, each with augmented copies of it as a class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew._utils.seeding import torch_generator
from graphfew.core.episode import Episode
from graphfew.data.augment import Augmentation
from graphfew.data.augmented_tasks import check_images
from graphfew.data.dataset import Dataset
from graphfew.data.draws import (
    QUERY,
    SUPPORT,
    TaskDraw,
    assemble_tasks,
    check_seed,
    task_number,
)
from graphfew.data.int_range import IntOrRange, IntRange
from graphfew.data.query_protocols import QuerySampler
from graphfew.data.query_sampling import balanced, draw_queries
from graphfew.errors import InvalidInputError

# A class has any number of copies; query samplers need a number.
_MAX_COPIES = 10_000


@dataclasses.dataclass(frozen=True, eq=False)
class UmtraTasks:
    """Tasks whose classes are single items and augmented copies of them; any method trains on them.

    A task draws `way` different items. Each is the first support of its own class; further
    supports and all queries are randomly changed copies. A task depends on `(seed, index)` alone.
    The labels of the data set are not read; evaluate on plain `Tasks`.

    Two items of a task may belong to one true class; with `C` classes of equal size the chance is
    about `way² / 2C`.

    Args:
        data: images, `[n, c, h, w]`.
        augmentation: the random transform of copies, such as `dropout` and `crop`.
        way: number of classes (int or range).
        shot: supports per class (int or range).
        query: queries per class (int or range), or a `QuerySampler`.
        seed: seed of all draws.
        shuffle: whether nodes are in random order. If False, they are sorted by role and class.

    Raises:
        InvalidInputError: a number out of range, fewer items than classes of a task, or items that
            are not images.

    Example:
        >>> import graphfew as gf
        >>> change = gf.data.augment.parse_augmentation("dropout+crop:2")
        >>> episode, target = UmtraTasks(gf.data.digits(), change, way=3).batch(range(2))
        >>> episode.sizes, target.shape
        ((6, 6), torch.Size([6]))

    Source:
        Khodadadeh, Bölöni, Shah, 2019, Unsupervised Meta-Learning for Few-Shot Image
        Classification.

    Deviations:
        More than one support and one query per class are possible. The paper's augmentation of
        Omniglot is `dropout+crop:6`.
    """

    data: Dataset
    augmentation: Augmentation
    way: IntOrRange = 5
    shot: IntOrRange = 1
    query: IntOrRange | QuerySampler = 1
    seed: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_images(self.augmentation, self.data.x)
        _ = self.shots, self.sampler  # raise for numbers out of range
        if self.ways.high > len(self.data):
            raise InvalidInputError(
                f"way is {self.ways} but {self.data!r} has {len(self.data)} items; use fewer"
            )

    def batch(self, indices: Iterable[SupportsIndex]) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Return several tasks as one episode.

        Args:
            indices: numbers of the tasks.

        Returns:
            The episode, and the class index of each query in node order, `[Q]` int64.

        Raises:
            IndexError: an index is negative.
            InvalidInputError: there are no indices.
        """
        numbers = [task_number(index) for index in indices]
        if not numbers:
            raise InvalidInputError("batch got no indices; pass at least one")
        draws = [self.draw(number) for number in numbers]
        # Task by task, so that the changes do not depend on the other tasks of a batch.
        parts = []
        for number, draw in zip(numbers, draws, strict=True):
            parts.append(self._images(number, draw))
        return assemble_tasks(torch.cat(parts), draws)

    def draw(self, index: SupportsIndex) -> TaskDraw:
        """Draw the items of one task.

        Args:
            index: number of the task.

        Returns:
            Items, labels and roles of the task; `classes` are its items. The first support of each
            class, in node order, is the item itself.

        Raises:
            IndexError: the index is negative.
        """
        sequence = np.random.SeedSequence(self.seed, spawn_key=(task_number(index),))
        rng = np.random.default_rng(sequence)
        way = self.ways.draw(rng)
        shot = self.shots.draw(rng)
        items = rng.choice(len(self.data), way, replace=False)
        n_queries = draw_queries(self.sampler, np.full(way, _MAX_COPIES), rng)
        # All supports, then all queries, each sorted by class.
        classes = np.arange(way)
        label = np.concatenate([classes.repeat(shot), classes.repeat(n_queries)])
        role = np.array([SUPPORT, QUERY]).repeat([way * shot, int(n_queries.sum())])
        order = rng.permutation(len(label)) if self.shuffle else np.arange(len(label))
        return TaskDraw(items[label[order]], label[order], role[order], items)

    def describe(self) -> dict[str, JSON]:
        """Return what defines these tasks, ready for JSON.

        Example:
            >>> import graphfew as gf
            >>> UmtraTasks(gf.data.digits(), gf.data.augment.flip()).describe()["augment"]
            'flip'
        """
        described: dict[str, JSON] = {
            "data": self.data.name,
            "split": self.data.split,
            "way": self.ways.to_json(),
            "shot": self.shots.to_json(),
            "query": str(self.sampler),
            "seed": int(self.seed),
            "source": "umtra",
            "augment": self.augmentation.name,
        }
        if not self.shuffle:
            described["shuffle"] = False
        return described

    @property
    def ways(self) -> IntRange:
        """The number of classes as a checked range."""
        return IntRange.of(self.way, name="way", minimum=2)

    @property
    def shots(self) -> IntRange:
        """The number of supports per class as a checked range."""
        return IntRange.of(self.shot, name="shot", minimum=1)

    @property
    def sampler(self) -> QuerySampler:
        """The sampler of the number of queries."""
        if isinstance(self.query, QuerySampler):
            return self.query
        return balanced(IntRange.of(self.query, name="query", minimum=1))

    def _images(self, number: int, draw: TaskDraw) -> Tensor:
        """The images of a task: originals and copies."""
        images = self.data.gather(draw.items)
        is_copy = torch.from_numpy(_is_copy(draw))
        sequence = np.random.SeedSequence(self.seed, spawn_key=(number, 1))
        task = torch.zeros(int(is_copy.sum()), dtype=torch.int64)
        copies = self.augmentation.transform(images[is_copy], task, torch_generator(sequence))
        images[is_copy] = copies
        return images


def _is_copy(draw: TaskDraw) -> NDArray[np.bool_]:
    """`[N]`: all nodes but the first support of each class."""
    supports = np.flatnonzero(draw.role == SUPPORT)
    _, first = np.unique(draw.label[supports], return_index=True)
    is_copy = np.ones(len(draw.label), dtype=bool)
    is_copy[supports[first]] = False
    return is_copy
