"""Validation of an episode: the checks of the constructor of `Episode`, and their messages."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import reprlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphfew.core.node_layout import MAX_CACHED_NODES
from graphfew.errors import InvalidInputError, InvalidTypeError


def check_tensors(x: Tensor, y: Tensor, query: Tensor) -> None:
    """Check types, devices, lengths, dtypes and shapes of the tensors, and that `x` is finite."""
    for name, value in (("x", x), ("y", y), ("query", query)):
        _check_dense(name, value)
    if not x.device == y.device == query.device:
        raise InvalidInputError(
            f"x is on {x.device}, y on {y.device} and query on {query.device}; move all to one "
            "device"
        )
    n_items = x.shape[0]
    if not n_items == y.shape[0] == query.shape[0]:
        raise InvalidInputError(
            f"lengths differ: x has {n_items} items, y {len(y)} and query {len(query)}; "
            "give one of each per node"
        )
    if y.dtype != torch.int64 or query.dtype != torch.bool:
        raise InvalidTypeError(
            f"y is {y.dtype} and query is {query.dtype}; y must be torch.int64 and query torch.bool"
        )
    if y.ndim != 1 or query.ndim != 1:
        raise InvalidInputError(
            f"y has shape {tuple(y.shape)} and query {tuple(query.shape)}; both must be [N]"
        )
    # Eight-bit floats have no arithmetic in torch, so they count as unsupported here.
    is_supported_float = x.dtype.is_floating_point and x.dtype.itemsize > 1
    if not is_supported_float and x.dtype != torch.int64:
        raise InvalidTypeError(
            f"x is {x.dtype}; convert it to a floating type (images: divide by 255) or int64 tokens"
        )
    if is_supported_float:
        _check_finite(x)


def check_sizes(n_items: int, sizes: tuple[int, ...], way: tuple[int, ...]) -> None:
    """Check that the task sizes cover all items and leave room for a shot of every class."""
    if not sizes:
        raise InvalidInputError("the episode has no tasks; give at least one size")
    if len(sizes) != len(way):
        raise InvalidInputError(
            f"sizes lists {len(sizes)} tasks and way {len(way)}; give one way per task"
        )
    if sum(sizes) != n_items or min(sizes) < 1:
        raise InvalidInputError(
            f"sizes {sizes} sum to {sum(sizes)} but x has {n_items} items; "
            "every task needs its own items"
        )
    smallest_way = min(way)
    if smallest_way < 2:
        raise InvalidInputError(
            f"way is {smallest_way} in task {way.index(smallest_way)}; "
            "a task needs at least 2 classes"
        )
    for task, (size, n_classes) in enumerate(zip(sizes, way, strict=True)):
        if n_classes > size:
            raise InvalidInputError(
                f"task {task} has {size} items and way {n_classes}; every class needs a shot"
            )


@dataclasses.dataclass(frozen=True)
class NodeCounts:
    """Numbers of nodes of each task.

    Attributes:
        queries: number of queries of each task.
        unlabeled: number of unlabeled nodes of each task.
        shots: number of supports of each class, `[tasks, max(way)]`.
    """

    queries: tuple[int, ...]
    unlabeled: tuple[int, ...]
    shots: npt.NDArray[np.int64]


def count_nodes(
    y: Tensor, query: Tensor, sizes: tuple[int, ...], way: tuple[int, ...]
) -> NodeCounts:
    """Count queries, unlabeled nodes and supports, and check that their labels are valid.

    Queries may carry no label, and all labels must be below the way of their task.
    """
    # In NumPy, which has less overhead than torch for a few hundred numbers, and synchronizes a
    # GPU once instead of for every check.
    label, is_query = y.cpu().numpy(), query.cpu().numpy()
    if label.size > MAX_CACHED_NODES:
        return _count_nodes(label, is_query, sizes, way)
    # The tasks of an evaluation usually have the same labels in the same order.
    return _count_cached(label.tobytes(), is_query.tobytes(), sizes, way)


@functools.lru_cache(maxsize=16)
def _count_cached(
    label: bytes, is_query: bytes, sizes: tuple[int, ...], way: tuple[int, ...]
) -> NodeCounts:
    labels = np.frombuffer(label, dtype=np.int64)
    return _count_nodes(labels, np.frombuffer(is_query, dtype=np.bool_), sizes, way)


def _count_nodes(
    label: npt.NDArray[np.int64],
    is_query: npt.NDArray[np.bool_],
    sizes: tuple[int, ...],
    way: tuple[int, ...],
) -> NodeCounts:
    n_tasks, max_way = len(sizes), max(way)
    query_kind = max_way + 1
    if label.min() < -1 or label.max() >= max_way or (label[is_query] != -1).any():
        raise _label_error(label, is_query, sizes, way)
    # Kinds of nodes: 0 if unlabeled, then the classes, then queries.
    kind = np.where(is_query, query_kind, label + 1)
    task = np.repeat(np.arange(n_tasks), sizes)
    n_kinds = query_kind + 1
    counts = np.bincount(task * n_kinds + kind, minlength=n_tasks * n_kinds)
    counts = counts.reshape(n_tasks, n_kinds)
    unlabeled, shots, queries = counts[:, 0], counts[:, 1:-1], counts[:, -1]
    if shots[~_has_class(way)].any():
        raise _label_error(label, is_query, sizes, way)
    return NodeCounts(tuple(queries.tolist()), tuple(unlabeled.tolist()), shots)


def check_queries(n_queries: tuple[int, ...]) -> None:
    """Check that every task has a query."""
    if min(n_queries) < 1:
        empty_task = n_queries.index(min(n_queries))
        raise InvalidInputError(f"task {empty_task} has no query; mark at least one node in query")


def check_classes(shots: npt.NDArray[np.int64], way: tuple[int, ...]) -> None:
    """Check that every class has a labeled support node, given `shots` `[tasks, max(way)]`."""
    if shots.all():
        return
    missing = _has_class(way) & (shots == 0)
    if missing.any():
        t, c = np.argwhere(missing)[0].tolist()
        raise InvalidInputError(
            f"class {c} of task {t} has no labeled support; every class needs a shot"
        )


def int_tuple(name: str, values: Any) -> tuple[int, ...]:
    """Convert a sequence of integers, of Python or NumPy, to a tuple."""
    try:
        # operator.index refuses 2.5, which `int` would truncate.
        return tuple(map(operator.index, values))
    except TypeError as error:
        raise InvalidTypeError(
            f"{name} is {reprlib.repr(values)}; give a tuple of whole numbers, one per task"
        ) from error


def _check_dense(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise InvalidTypeError(
            f"{name} is a {type(value).__name__}; it must be a dense torch.Tensor"
        )
    if value.layout != torch.strided:
        raise InvalidTypeError(
            f"{name} is a {value.layout} tensor; it must be a dense torch.Tensor"
        )
    if value.ndim == 0 or value.device.type == "meta":
        raise InvalidInputError(
            f"{name} has shape {tuple(value.shape)} on {value.device}; give values, one per node"
        )


def _check_finite(x: Tensor) -> None:
    # The sum needs no memory, unlike the mask of isfinite. It is finite unless a value is not, or
    # unless it overflows; only then look at the single values.
    if math.isfinite(x.sum().item()):
        return
    finite = torch.isfinite(x)
    if not bool(finite.all()):
        is_invalid = (~finite).reshape(len(x), -1).any(1)
        item = int(is_invalid.nonzero()[0])
        raise InvalidInputError(
            f"x has NaN or infinite values (first in item {item}); remove or impute them first"
        )


def _has_class(way: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which classes each task has, `[tasks, max(way)]`."""
    return np.arange(max(way)) < np.asarray(way)[:, None]


def _label_error(
    label: npt.NDArray[np.int64],
    is_query: npt.NDArray[np.bool_],
    sizes: tuple[int, ...],
    way: tuple[int, ...],
) -> InvalidInputError:
    """Describe the first labeled query or, without any, the first label out of range."""
    labeled_queries = np.flatnonzero(is_query & (label != -1))
    if len(labeled_queries):
        node = int(labeled_queries[0])
        return InvalidInputError(
            f"query node {node} carries label {label[node]}; set it to -1 and keep the label as "
            "the target"
        )
    task = np.repeat(np.arange(len(sizes)), sizes)
    out_of_range = (label < -1) | (label >= np.asarray(way)[task])
    node = int(np.flatnonzero(out_of_range)[0])
    t = int(task[node])
    return InvalidInputError(
        f"node {node} has label {label[node]} in task {t}, a {way[t]}-way task; "
        f"labels run from 0 to {way[t] - 1}, and -1 means unknown"
    )
