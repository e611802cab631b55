"""Episodes: the one input of every method, and the only place where tasks are validated."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from graphfew.ops.ragged import ragged_matmul

UNKNOWN = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """One few-shot task, or several lying end to end, whose unknown labels are all `-1`.

    A node is labeled support (`query` False, `y >= 0`), unlabeled context (`query` False, `y == -1`) or query
    (`query` True, `y == -1` always): true query labels travel beside the episode, never in it. Nodes may stand in any
    order.

    Shapes:
        x: `[N, ...]` floating: images, features or anything an encoder takes; nodes of a task are adjacent.
        y: `[N]` int64: class index inside the node's task, `0 .. way-1`, or `-1` where unknown.
        query: `[N]` bool.
        sizes: nodes of each task, `sum(sizes) == N`.
        way: classes of each task.
        n_queries, n_unlabeled: queries and unlabeled nodes of each task; derived.
        origin: `[N]` int64 in what `inductive` gives: the node that each is a copy of; None elsewhere.

    Raises:
        TypeError: what is no dense tensor or of a wrong dtype, or sizes and ways that are no whole numbers.
        ValueError: lengths that differ, NaN or infinite `x`, a labeled query, a label outside its task's way, a task
            without a query, or a class without a labeled support item.
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
        _check_tensors(self.x, self.y, self.query)
        sizes, way = _whole("sizes", self.sizes), _whole("way", self.way)
        _check_sizes(self.x, sizes, way)
        task = task_index(sizes, self.y.device)
        _check_labels(self.y, self.query, task, way)
        queries = _count(task, self.query, len(sizes))
        unlabeled = _count(task, (self.y == UNKNOWN) & ~self.query, len(sizes))
        _check_members(self.y, task, way, queries)
        for name, value in (
            ("sizes", sizes),
            ("way", way),
            ("n_queries", queries),
            ("n_unlabeled", unlabeled),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def single(cls, x: Tensor, y: Tensor, query: Tensor, way: int) -> Episode:
        """One task: `x [N, ...]`, `y [N]`, `query [N]`. Raises as the constructor does."""
        return cls(x=x, y=y, query=query, sizes=(len(x),), way=(way,))

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.sizes)

    @property
    def labeled(self) -> Bool[Tensor, " N"]:
        """`[N]` bool: support nodes with a label."""
        return self.y != UNKNOWN

    @property
    def task(self) -> Int[Tensor, " N"]:
        """`[N]` int64: the task of each node."""
        return task_index(self.sizes, self.y.device)

    def encode(self, encoder: Callable[[Tensor], Tensor]) -> Episode:
        """The same episode with `x` replaced by `encoder(x)`, `[N, F]`."""
        return _derive(self, x=encoder(self.x))

    def to(self, *args: Any, **kwargs: Any) -> Episode:
        """Like `Tensor.to`: moves every tensor to a device; a dtype applies to `x` alone."""
        x = self.x.to(*args, **kwargs)
        return _derive(self, x=x, y=self.y.to(x.device), query=self.query.to(x.device))

    def take(self, tasks: Sequence[int]) -> Episode:
        """The episode of the given tasks, in the given order."""
        starts = [0, *itertools.accumulate(self.sizes)]
        nodes = torch.cat([torch.arange(starts[t], starts[t] + self.sizes[t]) for t in tasks]).to(
            self.y.device
        )
        return self._gather(nodes, tasks)

    def labeled_only(self) -> Episode:
        """The same tasks without their unlabeled nodes; queries keep their order."""
        if not any(self.n_unlabeled):
            return self
        keep = self.query | self.labeled
        sizes = tuple(n - u for n, u in zip(self.sizes, self.n_unlabeled, strict=True))
        return _derive(
            self,
            x=self.x[keep],
            y=self.y[keep],
            query=self.query[keep],
            sizes=sizes,
            n_unlabeled=(0,) * self.n_tasks,
        )

    def inductive(self) -> Episode:
        """One graph per query: its task's labeled and unlabeled context, repeated, and that query last.

        Query order is kept, so targets stay as they are. `tasks` becomes `sum(queries)`; memory grows as queries times
        context, so split with `take` first where that is too much.
        """
        context, query = (torch.nonzero(mask).flatten() for mask in (~self.query, self.query))
        asked = torch.tensor(self.n_queries, device=self.y.device)
        given = torch.tensor(self.sizes, device=self.y.device) - asked
        graph, member = ragged_matmul(asked, given)
        order = torch.cat([graph, torch.arange(len(query), device=graph.device)]).argsort(
            stable=True
        )
        nodes = torch.cat([context[member], query])[order]
        repeats = [t for t, q in enumerate(self.n_queries) for _ in range(q)]
        return _derive(
            self,
            x=self.x[nodes],
            y=self.y[nodes],
            query=self.query[nodes],
            sizes=tuple(self.sizes[t] - self.n_queries[t] + 1 for t in repeats),
            way=tuple(self.way[t] for t in repeats),
            n_queries=(1,) * len(repeats),
            n_unlabeled=tuple(self.n_unlabeled[t] for t in repeats),
            origin=nodes,
        )

    def _gather(self, nodes: Tensor, tasks: Sequence[int]) -> Episode:
        def pick(values: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(values[t] for t in tasks)

        return _derive(
            self,
            x=self.x[nodes],
            y=self.y[nodes],
            query=self.query[nodes],
            sizes=pick(self.sizes),
            way=pick(self.way),
            n_queries=pick(self.n_queries),
            n_unlabeled=pick(self.n_unlabeled),
            origin=None if self.origin is None else self.origin[nodes],
        )


FIELDS = tuple(field.name for field in dataclasses.fields(Episode))


def unchecked_episode(**fields: Any) -> Episode:
    """An episode of all the fields but `origin`, not validated, for a maker whose every episode is valid."""
    episode = object.__new__(Episode)
    for name in FIELDS:
        object.__setattr__(episode, name, fields.get(name))
    return episode


def collate(episodes: Sequence[Episode]) -> Episode:
    """Several episodes as one, their tasks end to end; sizes, ways and queries may differ.

    Raises:
        ValueError: no episodes, or items of different shapes or devices.
    """
    if not episodes:
        raise ValueError("collate got no episodes; pass at least one")
    shapes = sorted({tuple(e.x.shape[1:]) for e in episodes})
    if len(shapes) > 1:
        raise ValueError(
            f"collate got items of shapes {shapes}; all episodes of a batch need items of one shape"
        )
    devices = sorted({str(e.x.device) for e in episodes})
    if len(devices) > 1:
        raise ValueError(
            f"collate got episodes on {' and '.join(devices)}; bring all to one device"
        )

    def chain(name: str) -> tuple[int, ...]:
        return tuple(v for e in episodes for v in getattr(e, name))

    return _derive(
        episodes[0],
        x=torch.cat([e.x for e in episodes]),
        y=torch.cat([e.y for e in episodes]),
        query=torch.cat([e.query for e in episodes]),
        sizes=chain("sizes"),
        way=chain("way"),
        n_queries=chain("n_queries"),
        n_unlabeled=chain("n_unlabeled"),
    )


def task_index(sizes: Sequence[int], device: torch.device) -> Int[Tensor, " N"]:
    """`[sum(sizes)]` int64: the index of the task that each node belongs to."""
    counts = torch.tensor(sizes, dtype=torch.int64, device=device)
    return torch.repeat_interleave(counts, output_size=sum(sizes))


def _derive(episode: Episode, **changes: Any) -> Episode:
    """A changed copy of a valid episode, not validated again: that costs a pass over the data and a device sync.

    Its nodes are copies of others only where `changes` say so.
    """
    return unchecked_episode(
        **{**{name: getattr(episode, name) for name in FIELDS}, "origin": None, **changes}
    )


def _count(task: Tensor, mask: Tensor, tasks: int) -> tuple[int, ...]:
    return tuple(torch.bincount(task[mask], minlength=tasks).tolist())


def _whole(name: str, values: Any) -> tuple[int, ...]:
    """Raises TypeError for anything but a sequence of whole numbers."""
    try:
        return tuple(map(operator.index, values))
    except TypeError as error:
        raise TypeError(
            f"{name} is {reprlib.repr(values)}; give a tuple of whole numbers, one per task"
        ) from error


def _check_tensors(x: Tensor, y: Tensor, query: Tensor) -> None:
    for name, value in (("x", x), ("y", y), ("query", query)):
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            kind = (
                f"a {value.layout} one"
                if isinstance(value, Tensor)
                else f"a {type(value).__name__}"
            )
            raise TypeError(f"{name} is {kind}; it must be a dense torch.Tensor")
        if value.ndim == 0 or value.device.type == "meta":
            raise ValueError(
                f"{name} has shape {tuple(value.shape)} on {value.device}; give values, one per node"
            )
    if not x.device == y.device == query.device:
        raise ValueError(
            f"x is on {x.device}, y on {y.device} and query on {query.device}; bring all to one device"
        )
    if not (len(x) == len(y) == len(query)):
        raise ValueError(
            f"lengths differ: x has {len(x)} items, y {len(y)} and query {len(query)}; give one per node"
        )
    if y.dtype != torch.int64 or query.dtype != torch.bool:
        raise TypeError(
            f"y is {y.dtype} and query is {query.dtype}; y must be torch.int64 and query torch.bool"
        )
    if y.ndim != 1 or query.ndim != 1:
        raise ValueError(
            f"y has shape {tuple(y.shape)} and query {tuple(query.shape)}; both must be [N]"
        )
    if not (x.dtype.is_floating_point and x.dtype.itemsize > 1) and x.dtype != torch.int64:
        raise TypeError(
            f"x is {x.dtype}; convert it to a floating type (images: divide by 255) or int64 tokens"
        )
    # The sum is a cheap first look: it is finite unless an item is not, or it overflows.
    if (
        x.dtype.is_floating_point
        and not math.isfinite(x.sum().item())
        and not bool(torch.isfinite(x).all())
    ):
        bad = int((~torch.isfinite(x)).reshape(len(x), -1).any(1).nonzero()[0])
        raise ValueError(
            f"x has NaN or infinite values (first in item {bad}); remove or impute them first"
        )


def _check_sizes(x: Tensor, sizes: tuple[int, ...], way: tuple[int, ...]) -> None:
    if not sizes:
        raise ValueError("the episode has no tasks; give at least one size")
    if len(sizes) != len(way):
        raise ValueError(
            f"sizes lists {len(sizes)} tasks and way {len(way)}; give one way per task"
        )
    if sum(sizes) != len(x) or min(sizes) < 1:
        raise ValueError(
            f"sizes {sizes} sum to {sum(sizes)} but x has {len(x)} items; every task needs its own items"
        )
    if min(way) < 2:
        raise ValueError(
            f"way is {min(way)} in task {way.index(min(way))}; a task needs at least 2 classes"
        )
    crowded = next(
        (t for t, (size, classes) in enumerate(zip(sizes, way, strict=True)) if classes > size),
        None,
    )
    if crowded is not None:
        raise ValueError(
            f"task {crowded} has {sizes[crowded]} items and way {way[crowded]}; every class needs a shot"
        )


def _check_labels(y: Tensor, query: Tensor, task: Tensor, way: tuple[int, ...]) -> None:
    if bool((query & (y != UNKNOWN)).any()):
        node = int((query & (y != UNKNOWN)).nonzero()[0])
        raise ValueError(
            f"query node {node} carries label {int(y[node])}; set it to -1 and keep it as the target"
        )
    outside = (y < UNKNOWN) | (y >= torch.tensor(way, device=y.device)[task])
    if bool(outside.any()):
        node = int(outside.nonzero()[0])
        t = int(task[node])
        raise ValueError(
            f"node {node} has label {int(y[node])} in task {t}, a {way[t]}-way task; "
            f"labels run from 0 to {way[t] - 1}, and -1 means unknown"
        )


def _check_members(y: Tensor, task: Tensor, way: tuple[int, ...], queries: tuple[int, ...]) -> None:
    if min(queries) < 1:
        raise ValueError(
            f"task {queries.index(min(queries))} has no query; mark at least one node in query"
        )
    widest = max(way)
    labeled = y != UNKNOWN
    shots = torch.bincount(task[labeled] * widest + y[labeled], minlength=len(way) * widest).view(
        len(way), widest
    )
    needed = torch.arange(widest, device=y.device) < torch.tensor(way, device=y.device)[:, None]
    if bool((needed & (shots == 0)).any()):
        t, c = (int(v) for v in (needed & (shots == 0)).nonzero()[0])
        raise ValueError(f"class {c} of task {t} has no labeled support; every class needs a shot")
