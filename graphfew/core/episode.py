"""Episodes: the input of every method, validated once, on construction."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from graphfew.core import _episode_checks
from graphfew.core.node_layout import NodeLayout, node_layout
from graphfew.errors import InvalidInputError
from graphfew.ops.ragged import ragged_product
from graphfew.ops.tracing import is_traced

UNKNOWN = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """One few-shot task, or several tasks in one batch, in which every unknown label is `-1`.

    A node is labeled support (`query` is False, `y >= 0`), unlabeled context (`query` is False,
    `y == -1`) or a query (`query` is True, `y == -1`). The true labels of queries are never part
    of an episode: data sets return them separately, as the target. Nodes of a task are adjacent;
    inside a task they may have any order.

    Attributes:
        x: `[N, ...]` float or int64, images, features, tokens or anything else an encoder takes.
        y: `[N]` int64, class index inside the node's task, `0 .. way-1`, or `-1` if unknown.
        query: `[N]` bool, True for queries.
        sizes: number of nodes of each task; they sum to N.
        way: number of classes of each task.
        n_queries: number of queries of each task; derived.
        n_unlabeled: number of unlabeled context nodes of each task; derived.
        origin: `[N]` int64, the node that each node is a copy of, in an episode that comes from
            `inductive`; otherwise None.

    Raises:
        InvalidTypeError: an argument is not a dense tensor, has the wrong dtype, or `sizes` or
            `way` are not integers.
        InvalidInputError: lengths differ, `x` is not finite, a query has a label, a label is
            outside the way of its task, a task has no query, or a class no labeled support.

    Example:
        >>> import torch
        >>> from graphfew import Episode
        >>> y = torch.tensor([0, 1, -1, -1])
        >>> query = torch.tensor([False, False, True, True])
        >>> episode = Episode(torch.eye(4), y, query, sizes=(4,), way=(2,))
        >>> episode.n_queries, episode.inductive().sizes
        ((2,), (3, 3))
    """

    x: Shaped[Tensor, "N ..."]
    y: Int[Tensor, " N"]
    query: Bool[Tensor, " N"]
    sizes: tuple[int, ...]
    way: tuple[int, ...]
    n_queries: tuple[int, ...] = dataclasses.field(init=False)
    n_unlabeled: tuple[int, ...] = dataclasses.field(init=False)
    origin: Int[Tensor, " N"] | None = dataclasses.field(init=False, default=None)

    def __post_init__(self) -> None:
        _episode_checks.check_tensors(self.x, self.y, self.query)
        sizes = _episode_checks.int_tuple("sizes", self.sizes)
        way = _episode_checks.int_tuple("way", self.way)
        _episode_checks.check_sizes(self.x.shape[0], sizes, way)
        counts = _episode_checks.count_nodes(self.y, self.query, sizes, way)
        _episode_checks.check_queries(counts.queries)
        _episode_checks.check_classes(counts.shots, way)
        # The dataclass is frozen, so derived fields are set through object.
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "way", way)
        object.__setattr__(self, "n_queries", counts.queries)
        object.__setattr__(self, "n_unlabeled", counts.unlabeled)

    @classmethod
    def single(cls, x: Tensor, y: Tensor, query: Tensor, way: int) -> Episode:
        """Make an episode of one task.

        Args:
            x: items, `[N, ...]`.
            y: class indices, `[N]` int64, `-1` if unknown.
            query: True for queries, `[N]` bool.
            way: number of classes.

        Returns:
            The episode with `sizes=(N,)`.

        Raises:
            InvalidTypeError, InvalidInputError: as the constructor.
        """
        return cls(x=x, y=y, query=query, sizes=(len(x),), way=(way,))

    @classmethod
    def context(cls, x: Tensor, y: Tensor, way: int) -> Episode:
        """Make an episode of one task without queries, to fit a method to (see `fit_method`).

        Args:
            x: items, `[N, ...]`.
            y: class indices, `[N]` int64, `-1` if unlabeled.
            way: number of classes.

        Returns:
            The episode with `sizes=(N,)` and `n_queries=(0,)`.

        Raises:
            InvalidTypeError, InvalidInputError: as the constructor.
        """
        # The type of y is checked only after that, so it may lack a device.
        query = torch.zeros(len(y), dtype=torch.bool, device=getattr(y, "device", None))
        _episode_checks.check_tensors(x, y, query)
        sizes, ways = (len(y),), _episode_checks.int_tuple("way", (way,))
        _episode_checks.check_sizes(x.shape[0], sizes, ways)
        counts = _episode_checks.count_nodes(y, query, sizes, ways)
        _episode_checks.check_classes(counts.shots, ways)
        return unchecked_episode(
            x=x,
            y=y,
            query=query,
            sizes=sizes,
            way=ways,
            n_queries=(0,),
            n_unlabeled=counts.unlabeled,
        )

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.sizes)

    @property
    def labeled(self) -> Bool[Tensor, " N"]:
        """`[N]` bool, True for labeled support nodes."""
        return self.layout.labeled

    @property
    def task(self) -> Int[Tensor, " N"]:
        """`[N]` int64, the index of the task of each node."""
        return self.layout.task

    @property
    def layout(self) -> NodeLayout:
        """Indices that depend on labels only, shared with encoded forms of the episode."""
        layout: NodeLayout | None = getattr(self, "_layout", None)
        if layout is not None:
            return layout
        return node_layout(
            self.y, self.query, self.sizes, self.way, self.n_queries, self.n_unlabeled
        )

    def encode(self, encoder: Callable[[Tensor], Tensor]) -> Episode:
        """Replace the items by their features.

        Args:
            encoder: maps items `[N, ...]` to features `[N, F]`.

        Returns:
            The same episode with `x` of shape `[N, F]`.
        """
        encoded = _derive(self, x=encoder(self.x))
        # Layers read it often. Tensors of a traced computation are not valid outside of it.
        if not is_traced():
            object.__setattr__(encoded, "_layout", self.layout)
        return encoded

    def to(self, *args: Any, **kwargs: Any) -> Episode:
        """Move all tensors to a device; a dtype applies to `x` only.

        Args:
            *args: as for `torch.Tensor.to`.
            **kwargs: as for `torch.Tensor.to`.

        Returns:
            The converted episode.
        """
        # A dtype in the arguments must not reach the labels and the query mask.
        x = self.x.to(*args, **kwargs)
        return _derive(
            self,
            x=x,
            y=self.y.to(x.device),
            query=self.query.to(x.device),
        )

    def take(self, tasks: Sequence[int]) -> Episode:
        """Select tasks.

        Args:
            tasks: indices of tasks, in the order wanted.

        Returns:
            An episode of these tasks.
        """
        starts = [0, *itertools.accumulate(self.sizes)]
        nodes: slice | Tensor
        if len(tasks) and tasks[0] >= 0 and _are_consecutive(tasks):
            # Consecutive tasks are views.
            nodes = slice(starts[tasks[0]], starts[tasks[-1] + 1])
        else:
            ranges = [torch.arange(starts[t], starts[t + 1]) for t in tasks]
            nodes = torch.cat(ranges).to(self.y.device)
        origin = None
        if self.origin is not None:
            origin = self.origin[nodes]
        return _derive(
            self,
            x=self.x[nodes],
            y=self.y[nodes],
            query=self.query[nodes],
            sizes=_select(self.sizes, tasks),
            way=_select(self.way, tasks),
            n_queries=_select(self.n_queries, tasks),
            n_unlabeled=_select(self.n_unlabeled, tasks),
            origin=origin,
        )

    def drop_unlabeled(self) -> Episode:
        """Remove the unlabeled context nodes.

        Returns:
            The same tasks without them; queries keep their order.
        """
        if not any(self.n_unlabeled):
            return self
        keep = self.query | self.labeled
        sizes = [size - n for size, n in zip(self.sizes, self.n_unlabeled, strict=True)]
        return _derive(
            self,
            x=self.x[keep],
            y=self.y[keep],
            query=self.query[keep],
            sizes=tuple(sizes),
            n_unlabeled=(0,) * self.n_tasks,
        )

    def drop_queries(self) -> Episode:
        """Remove the queries, which leaves the context that `fit_method` takes.

        Returns:
            The same tasks without queries, the only episodes with `n_queries` of 0.
        """
        keep = ~self.query
        sizes = [size - n for size, n in zip(self.sizes, self.n_queries, strict=True)]
        return _derive(
            self,
            x=self.x[keep],
            y=self.y[keep],
            query=self.query[keep],
            sizes=tuple(sizes),
            n_queries=(0,) * self.n_tasks,
        )

    def inductive(self) -> Episode:
        """Make one task per query, so that no query can influence the prediction of another.

        Each new task holds a copy of all labeled and unlabeled context of the original task, then
        the query. Memory grows with the number of queries times the context; select tasks with
        `take` first if that is too much.

        Returns:
            An episode of `sum(n_queries)` tasks; queries keep their order, so the target still
            applies. `origin` is the node that each node is a copy of.
        """
        device = self.y.device
        context = torch.nonzero(~self.query).flatten()
        query = torch.nonzero(self.query).flatten()
        sizes = torch.tensor(self.sizes, device=device)
        n_queries = torch.tensor(self.n_queries, device=device)
        n_context = sizes - n_queries
        new_task, member = ragged_product(n_queries, n_context)
        # Context copies come sorted by new task. A stable sort of context followed by queries
        # then puts each query last in its new task.
        query_task = torch.arange(len(query), device=device)
        order = torch.cat([new_task, query_task]).argsort(stable=True)
        nodes = torch.cat([context[member], query])[order]
        old_task: list[int] = []
        for t, n in enumerate(self.n_queries):
            old_task += [t] * n
        new_sizes = [self.sizes[t] - self.n_queries[t] + 1 for t in old_task]
        return _derive(
            self,
            x=self.x[nodes],
            y=self.y[nodes],
            query=self.query[nodes],
            sizes=tuple(new_sizes),
            way=_select(self.way, old_task),
            n_queries=(1,) * len(old_task),
            n_unlabeled=_select(self.n_unlabeled, old_task),
            origin=nodes,
        )


_FIELDS = tuple(field.name for field in dataclasses.fields(Episode))


def unchecked_episode(**fields: Any) -> Episode:
    """Build an episode from all its fields (`origin` may be omitted) without validating it.

    For code whose episodes are valid by construction: validation takes a pass over the data and
    a device synchronization.
    """
    # Without __init__, and so without the validation of __post_init__.
    episode = object.__new__(Episode)
    for name in _FIELDS:
        object.__setattr__(episode, name, fields.get(name))
    return episode


def collate(episodes: Sequence[Episode]) -> Episode:
    """Combine several episodes into one.

    Args:
        episodes: episodes of any sizes, ways and numbers of queries.

    Returns:
        One episode with the tasks of all, in order.

    Raises:
        InvalidInputError: there are no episodes, or their items differ in shape or device.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> gf.collate([episode, episode]).sizes
        (3, 3)
    """
    if not episodes:
        raise InvalidInputError("collate got no episodes; pass at least one")
    shapes = sorted({tuple(episode.x.shape[1:]) for episode in episodes})
    if len(shapes) > 1:
        raise InvalidInputError(
            f"collate got items of shapes {shapes}; all items of a batch need the same shape"
        )
    devices = sorted({str(episode.x.device) for episode in episodes})
    if len(devices) > 1:
        raise InvalidInputError(
            f"collate got episodes on {' and '.join(devices)}; move all to one device"
        )
    # `origin` is dropped, because its node numbers count within the separate episodes.
    return _derive(
        episodes[0],
        x=torch.cat([episode.x for episode in episodes]),
        y=torch.cat([episode.y for episode in episodes]),
        query=torch.cat([episode.query for episode in episodes]),
        sizes=_concat([episode.sizes for episode in episodes]),
        way=_concat([episode.way for episode in episodes]),
        n_queries=_concat([episode.n_queries for episode in episodes]),
        n_unlabeled=_concat([episode.n_unlabeled for episode in episodes]),
    )


def _derive(episode: Episode, **changes: Any) -> Episode:
    """Copy a valid episode with changes that keep it valid; `origin` is dropped unless given."""
    fields = {name: getattr(episode, name) for name in _FIELDS}
    # `origin` promises equal features of copies, which a change need not preserve.
    fields["origin"] = None
    fields.update(changes)
    return unchecked_episode(**fields)


def _select(values: tuple[int, ...], tasks: Sequence[int]) -> tuple[int, ...]:
    return tuple(values[t] for t in tasks)


def _concat(tuples: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(itertools.chain.from_iterable(tuples))


def _are_consecutive(tasks: Sequence[int]) -> bool:
    return all(task == tasks[0] + offset for offset, task in enumerate(tasks))
