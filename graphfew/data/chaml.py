"""CHAML: tasks of the classes that the model found hard, from easy classes to all classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew.core.episode import Episode
from graphfew.data.curriculum import Curriculum, easiest_classes
from graphfew.data.dataset import Dataset
from graphfew.data.draws import QUERY, Index, TaskDraw, gather_tasks, task_number
from graphfew.data.tasks import Tasks
from graphfew.errors import InvalidInputError

Difficulty = NDArray[np.float64]
# The part of a batch that is repeated.
HARD_FRACTION = 0.5


@dataclasses.dataclass(frozen=True)
class _Round:
    """The last batch.

    Attributes:
        next_index: number of the first task of the next batch.
        number: number of batches so far.
        classes: the classes of each task.
        losses: the mean loss of each of these classes.
    """

    next_index: int = 0
    number: int = 0
    classes: tuple[tuple[int, ...], ...] = ()
    losses: tuple[tuple[float, ...], ...] = ()


@dataclasses.dataclass
class _Memory:
    """The state of a source; shared with copies of it on other items."""

    last: _Round = dataclasses.field(default_factory=_Round)


@final
class ChamlTasks:
    """Tasks drawn by the hardness of the last batch, a `FeedbackSource` for `train` (CHAML).

    Two stages alternate from batch to batch. The first repeats the classes of the hardest half of
    the last tasks, with other items, and draws the other tasks freshly. The second repeats all last
    tasks with their hardest half of classes, rounded up, next to fresh classes. Hardness is the
    loss of the queries of a task or class. Tasks depend on the seed, the index and the losses
    alone.

    It is for training: `evaluate` takes plain `Tasks`.

    Args:
        tasks: the data set, and the numbers of classes and items of a task.
        curriculum: restricts the first tasks to easy classes; None for all classes.
        memory: the state that another source has, to continue together; None for a new one.

    Raises:
        InvalidInputError: the curriculum does not fit the data set.

    Example:
        >>> import graphfew as gf
        >>> source = ChamlTasks(gf.Tasks(gf.data.glyphs(), way=3, query=2))
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> steps = gf.train(model, source, loss=gf.node_loss, batch=4, steps=3)
        >>> [step.index for step in steps]
        [0, 1, 2]

    Source:
        Chen, Wang, Guo, Fu, Li, 2021, Curriculum Meta-Learning for Next POI Recommendation (CHAML).

    Deviations:
        The paper's tasks are cities and its instances are users; here they are sets of classes (with
        `within_groups`, of one group) and classes. Hardness is the loss instead of the accuracy,
        which few queries determine poorly. The difficulty of the curriculum is given by the caller,
        instead of a model trained for each task. A set of classes may be drawn twice in a row; a
        group is not, if others are left.
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        curriculum: Curriculum | None = None,
        memory: _Memory | None = None,
    ) -> None:
        self.tasks = tasks
        self.curriculum = curriculum
        self.memory = memory or _Memory()
        self._easy_classes = None
        if curriculum is not None:
            self._easy_classes = easiest_classes(tasks, curriculum)
            way = tasks.ranges.way.high
            if not _pools(tasks, way, self._easy_classes):
                raise InvalidInputError(
                    f"way is {way}, but the easiest half of the classes of {tasks.data!r} has "
                    "fewer; use fewer ways, or no curriculum"
                )

    @property
    def data(self) -> Dataset:
        """The data set."""
        return self.tasks.data

    def on(self, data: Dataset) -> ChamlTasks:
        """Return this source on other items of the same classes, with the same state."""
        tasks = dataclasses.replace(self.tasks, data=data)
        return ChamlTasks(tasks, curriculum=self.curriculum, memory=self.memory)

    def batch(self, indices: Sequence[int]) -> tuple[Episode, Int[Tensor, " Q"]]:
        """Return the tasks of the next batch, or of a part of it, as one episode.

        Args:
            indices: numbers of the tasks; those of the last `update` or later.

        Returns:
            The episode, and the class index of each query in node order, `[Q]` int64.

        Raises:
            IndexError: an index is negative.
            InvalidInputError: there are no indices, or one is before the last update.
        """
        return gather_tasks(self.data, [self.draw(index) for index in indices])

    def draw(self, index: int) -> TaskDraw:
        """Draw one task of the next batch.

        Args:
            index: number of the task.

        Returns:
            Items, labels, roles and classes of the task.

        Raises:
            IndexError: the index is negative.
            InvalidInputError: the task is before the last update.
        """
        number = task_number(index)
        last = self.memory.last
        position = number - last.next_index
        if position < 0:
            raise InvalidInputError(
                f"task {number} is before the last update, which was of tasks up to "
                f"{last.next_index - 1}; continue with task {last.next_index}"
            )
        # `Tasks` uses the key (number,): the classes are independent of the draws of items.
        sequence = np.random.SeedSequence(self.tasks.seed, spawn_key=(number, 1))
        rng = np.random.default_rng(sequence)
        return self.tasks.draw(number, self._draw_classes(rng, number, position))

    def update(self, indices: range, losses: Float[Tensor, " Q"]) -> None:
        """Take note of a batch; its tasks decide about the next one.

        Args:
            indices: numbers of its tasks.
            losses: `[Q]` the loss of each query, in node order.

        Raises:
            InvalidInputError: the number of losses is wrong, or one is not finite.
        """
        values = losses.detach().double().cpu().numpy()
        draws = [self.draw(index) for index in indices]
        labels = [draw.label[draw.role == QUERY] for draw in draws]
        n_queries = sum(map(len, labels))
        if len(values) != n_queries or not np.isfinite(values).all():
            raise InvalidInputError(
                f"update got {len(values)} losses for {n_queries} queries of tasks {indices}; pass "
                "one finite loss per query"
            )
        ends = np.cumsum([len(label) for label in labels])
        task_losses = np.split(values, ends[:-1])
        class_losses = []
        for draw, label, task_loss in zip(draws, labels, task_losses, strict=True):
            class_losses.append(_class_losses(label, task_loss, len(draw.classes)))
        self.memory.last = _Round(
            next_index=indices.stop,
            number=self.memory.last.number + 1,
            classes=tuple(tuple(draw.classes.tolist()) for draw in draws),
            losses=tuple(class_losses),
        )

    def state_dict(self) -> dict[str, JSON]:
        """Return the state as JSON values: the classes of the last batch and their losses."""
        last = self.memory.last
        return {
            "next_index": last.next_index,
            "number": last.number,
            "classes": [list(classes) for classes in last.classes],
            "losses": [list(losses) for losses in last.losses],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Args:
            state: the value of `state_dict`, of a source with the same tasks.

        Raises:
            InvalidInputError: it is not such a value; the state is then unchanged.
        """
        try:
            last = _Round(
                next_index=int(state["next_index"]),
                number=int(state["number"]),
                classes=tuple(tuple(map(int, classes)) for classes in state["classes"]),
                losses=tuple(tuple(map(float, losses)) for losses in state["losses"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"the state of a ChamlTasks has another form ({error}); pass a value of its "
                "state_dict"
            ) from error
        if not _is_valid(last, len(self.data.classes)):
            raise InvalidInputError(
                f"the state of a ChamlTasks does not fit {self.data!r}; pass the state of a source "
                "with the same tasks"
            )
        self.memory.last = last

    def describe(self) -> dict[str, JSON]:
        """Return what defines these tasks, ready for JSON.

        Example:
            >>> import graphfew as gf
            >>> ChamlTasks(gf.Tasks(gf.data.digits())).describe()["source"]
            'chaml'
        """
        described = {**self.tasks.describe(), "source": "chaml"}
        if self.curriculum is not None:
            described["n_easy_tasks"] = self.curriculum.n_easy_tasks
        return described

    def _draw_classes(self, rng: np.random.Generator, number: int, position: int) -> Index:
        """The classes of a task at a position of the next batch."""
        last = self.memory.last
        if position >= len(last.classes):
            return self._draw_fresh_task(rng, number)
        if last.number % 2:
            return self._replace_easy_classes(rng, number, position)
        mean_losses = [float(np.mean(losses)) for losses in last.losses]
        hardest_first = np.argsort(np.negative(mean_losses), kind="stable")
        if position >= int(HARD_FRACTION * len(mean_losses)):
            return self._draw_fresh_task(rng, number)
        # In another order: a method must not learn class numbers.
        return rng.permutation(np.array(last.classes[hardest_first[position]]))

    def _draw_fresh_task(self, rng: np.random.Generator, number: int) -> Index:
        """Random classes, of a group that the last batch did not have if there is one."""
        way = self.tasks.ranges.way.draw(rng)
        pools = self._class_pools(number, way)
        if self.tasks.within_groups:
            recent = np.concatenate([*map(np.array, self.memory.last.classes), []])
            # Groups are disjoint, so one common class means the same group.
            pools = [pool for pool in pools if not np.isin(recent, pool).any()] or pools
        return rng.choice(pools[rng.integers(len(pools))], way, replace=False)

    def _replace_easy_classes(self, rng: np.random.Generator, number: int, position: int) -> Index:
        """The hardest half of the classes of a task of the last batch, next to fresh ones."""
        last = self.memory.last
        classes = np.array(last.classes[position])
        losses = np.array(last.losses[position])
        way = len(classes)
        n_hard = way - int(HARD_FRACTION * way)
        hard = classes[np.argsort(-losses, kind="stable")[:n_hard]]
        pools = self._class_pools(number, way)
        if self.tasks.within_groups:
            pools = [pool for pool in pools if np.isin(hard, pool).any()]
        pool = np.concatenate(pools)
        fresh = np.setdiff1d(pool, classes)
        if len(fresh) < way - n_hard:
            fresh = np.setdiff1d(pool, hard)
        replacements = rng.choice(fresh, way - n_hard, replace=False)
        return rng.permutation(np.concatenate([hard, replacements]))

    def _class_pools(self, number: int, way: int) -> list[Index]:
        """The sets of classes that a task is drawn from."""
        curriculum = self.curriculum
        is_easy = curriculum is not None and number < curriculum.n_easy_tasks
        return _pools(self.tasks, way, self._easy_classes if is_easy else None)


def _is_valid(last: _Round, n_classes: int) -> bool:
    """Whether a restored round has distinct classes of the data set with finite losses."""
    if min(last.next_index, last.number) < 0 or len(last.classes) != len(last.losses):
        return False
    for classes, losses in zip(last.classes, last.losses, strict=True):
        is_known = all(0 <= c < n_classes for c in classes)
        is_distinct = 2 <= len(set(classes)) == len(classes) == len(losses)
        if not (is_known and is_distinct and np.isfinite(losses).all()):
            return False
    return True


def _class_losses(label: Index, losses: Difficulty, way: int) -> tuple[float, ...]:
    """Mean loss of each class of a task; that of the task for a class without query."""
    counts = np.bincount(label, minlength=way)
    sums = np.bincount(label, weights=losses, minlength=way)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), losses.mean())
    return tuple(means.tolist())


def _pools(tasks: Tasks, way: int, allowed: Index | None) -> list[Index]:
    """The sets of classes that a task may be drawn from, restricted to the allowed ones."""
    pools = list(tasks.class_pools[way])
    if allowed is not None:
        pools = [pool[np.isin(pool, allowed)] for pool in pools]
    return [pool for pool in pools if len(pool) >= way]
