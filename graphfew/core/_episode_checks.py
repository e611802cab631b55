"""Validation of an episode: the checks of the constructor of `Episode`, and their messages."""

from __future__ import annotations

import math
import operator
import reprlib
from typing import Any

import torch
from torch import Tensor

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
    if not len(x) == len(y) == len(query):
        raise InvalidInputError(
            f"lengths differ: x has {len(x)} items, y {len(y)} and query {len(query)}; "
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


def check_labels(y: Tensor, query: Tensor, task: Tensor, way: tuple[int, ...]) -> None:
    """Check that queries carry no label and that all labels are below the way of their task."""
    labeled_query = query & (y != -1)
    if bool(labeled_query.any()):
        node = int(labeled_query.nonzero()[0])
        label = int(y[node])
        raise InvalidInputError(
            f"query node {node} carries label {label}; set it to -1 and keep the label as the "
            "target"
        )
    way_of_node = torch.tensor(way, device=y.device)[task]
    out_of_range = (y < -1) | (y >= way_of_node)
    if bool(out_of_range.any()):
        node = int(out_of_range.nonzero()[0])
        label = int(y[node])
        t = int(task[node])
        raise InvalidInputError(
            f"node {node} has label {label} in task {t}, a {way[t]}-way task; "
            f"labels run from 0 to {way[t] - 1}, and -1 means unknown"
        )


def check_queries(n_queries: tuple[int, ...]) -> None:
    """Check that every task has a query."""
    if min(n_queries) < 1:
        empty_task = n_queries.index(min(n_queries))
        raise InvalidInputError(f"task {empty_task} has no query; mark at least one node in query")


def check_classes(y: Tensor, task: Tensor, way: tuple[int, ...]) -> None:
    """Check that every class has a labeled support node."""
    n_tasks = len(way)
    max_way = max(way)
    labeled = y != -1
    # As if every task had `max_way` classes: one bincount for all tasks, masked afterwards.
    class_of_node = task[labeled] * max_way + y[labeled]
    shots = torch.bincount(class_of_node, minlength=n_tasks * max_way)
    shots = shots.view(n_tasks, max_way)
    classes = torch.arange(max_way, device=y.device)
    way_of_task = torch.tensor(way, device=y.device)
    has_class = classes < way_of_task[:, None]
    missing = has_class & (shots == 0)
    if bool(missing.any()):
        t, c = missing.nonzero()[0].tolist()
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
