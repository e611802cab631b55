"""Data sets: items, their classes and what else is known of them, as plain arrays in memory."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from numpy.typing import NDArray
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Items with class labels, whole in memory: the computer's own, or with `to` the items on an accelerator.

    Shapes:
        x: `[n, ...]`, on any device: uint8 images `[n, c, h, w]` with values 0..255, floating features, or int64 word
            indices.
        y: `[n]` int64, on the CPU: class index of each item, `0 .. len(classes)-1`.
        classes: name of each class.
        groups: group of each class (Omniglot: its alphabet), or empty where there are no groups.
        items: further facts of each item, each `[n, ...]` (Omniglot: `drawer`).

    Raises:
        TypeError: what is no dense tensor or of a wrong dtype, or names that are no tuple of text.
        ValueError: no items, lengths that differ, NaN or infinite `x`, a label without a class, a class without an
            item, a class name given twice, or `y` on an accelerator.
    """

    name: str
    split: str
    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    groups: tuple[str, ...] = ()
    items: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_tensors(self.x, self.y)
        _check_names(self.classes, self.groups)
        _check_labels(self.y, self.classes)
        for key, value in self.items.items():
            if len(value) != len(self.y):
                raise ValueError(
                    f"items[{key!r}] has {len(value)} values and x {len(self.x)} items; give one per item"
                )

    def __repr__(self) -> str:
        shape = list(self.x.shape[1:])
        return (
            f"Dataset({self.name!r}, split={self.split!r}, {len(self.classes)} classes, {len(self)} items "
            f"of shape {shape} {str(self.x.dtype).removeprefix('torch.')})"
        )

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def members(self) -> tuple[NDArray[np.int64], ...]:
        """For each class the indices of its items, ascending."""
        y = self.y.numpy(force=True)
        counts = np.bincount(y, minlength=len(self.classes))
        return tuple(np.split(np.argsort(y, kind="stable"), np.cumsum(counts)[:-1]))

    @cached_property
    def group_classes(self) -> Mapping[str, NDArray[np.int64]]:
        """For each group the indices of its classes, ascending; empty where there are no groups."""
        groups = np.array(self.groups)
        return {name: np.flatnonzero(groups == name) for name in dict.fromkeys(self.groups)}

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with `x` on that device, where its tasks are then gathered; images stay uint8."""
        return dataclasses.replace(self, x=self.x.to(device))

    def gather(self, index: Int[Tensor, " m"] | NDArray[np.int64]) -> Shaped[Tensor, "m ..."]:
        """`[m, ...]`: the given items, float32, where `x` is; uint8 values are divided by 255, int64 ones stay."""
        index = torch.as_tensor(index).to(self.x.device)
        if self.x.dtype == torch.int64:
            return self.x[index]
        if self.x.dtype != torch.uint8:
            return self.x[index].to(torch.float32)
        if self.x.device.type != "cpu":
            return self.x[index].to(torch.float32) / 255
        # numpy divides while it converts, in one thread: torch's many threads only wait for one another here
        return torch.from_numpy(
            np.true_divide(self.x.numpy()[index.numpy()], np.float32(255), dtype=np.float32)
        )


def arrays(x: Any, y: Any, *, name: str = "arrays", split: str = "all") -> Dataset:
    """A data set from anything array-like: items `x [n, ...]` and labels `y [n]` of any type that sorts.

    Classes are the sorted distinct labels, named `str(label)`. uint8 `x` stays uint8 (0..255, images `[n, c, h, w]`);
    other integers and booleans become float32.

    Raises:
        TypeError: `x` that is not numeric.
        ValueError: lengths that differ, or as `Dataset` raises.
    """
    labels = _labels(y)
    if labels.ndim != 1:
        raise ValueError(f"y has shape {labels.shape}; give one label per item, shape [n]")
    classes, index = np.unique(labels, return_inverse=True)
    return Dataset(
        name=name,
        split=split,
        x=_numeric(x),
        y=torch.from_numpy(index.astype(np.int64)),
        classes=tuple(str(c) for c in classes),
    )


def _labels(y: Any) -> NDArray[Any]:
    try:
        out: NDArray[Any] = y.numpy(force=True) if isinstance(y, Tensor) else np.asarray(y)
    except (TypeError, NotImplementedError) as error:
        raise TypeError(
            f"y cannot be read as labels ({error}); give whole numbers or text"
        ) from error
    return out


VALUELESS = (
    "x is on torch's meta device, which holds shapes and no values; give the items themselves"
)


def _numeric(x: Any) -> Tensor:
    if isinstance(x, Tensor) and x.is_meta:
        raise ValueError(VALUELESS)
    values = x.detach().cpu() if isinstance(x, Tensor) else np.array(x)
    if isinstance(values, np.ndarray) and values.dtype.kind not in "buif":
        raise TypeError(f"x has dtype {values.dtype}; give numbers: uint8 images or features")
    tensor = torch.as_tensor(values)
    return (
        tensor
        if tensor.dtype == torch.uint8 or tensor.is_floating_point()
        else tensor.to(torch.float32)
    )


def _check_tensors(x: Tensor, y: Tensor) -> None:
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            kind = type(value).__name__
            raise TypeError(
                f"{name} is no dense torch.Tensor but a {kind}; convert it, or use `arrays`"
            )
    if y.device.type != "cpu":
        raise ValueError(
            f"y is on {y.device}; keep labels on the CPU, where tasks are drawn (x may be anywhere)"
        )
    if x.dtype not in (torch.uint8, torch.int64) and not (
        x.is_floating_point() and x.dtype.itemsize > 1
    ):
        raise TypeError(
            f"x is {x.dtype}; it must be uint8 (images), floating (features) or int64 (word indices)"
        )
    if y.dtype != torch.int64:
        raise TypeError(
            f"y is {y.dtype}; it must be torch.int64 (use `arrays` for labels of another type)"
        )
    if x.ndim < 2 or y.ndim != 1:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}; x must be [n, ...], y [n]"
        )
    if len(x) != len(y):
        raise ValueError(
            f"lengths differ: x has {len(x)} items and y {len(y)} labels; give one label per item"
        )
    if x.numel() == 0:
        raise ValueError(
            f"x is empty, shape {tuple(x.shape)}; a data set needs at least one item with values"
        )
    if x.is_floating_point() and x.is_meta:
        raise ValueError(VALUELESS)
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
        raise ValueError(
            f"x has NaN or infinite values (first in item {bad}); remove or impute them"
        )


def _check_names(classes: tuple[str, ...], groups: tuple[str, ...]) -> None:
    for name, value in (("classes", classes), ("groups", groups)):
        if not isinstance(value, tuple) or not all(isinstance(part, str) for part in value):
            raise TypeError(f"{name} is {reprlib.repr(value)}; give a tuple of names")
    if groups and len(groups) != len(classes):
        raise ValueError(
            f"groups has {len(groups)} names and classes {len(classes)}; give one per class"
        )
    if len(set(classes)) != len(classes):
        twice = next(c for i, c in enumerate(classes) if c in classes[:i])
        raise ValueError(f"class name {twice!r} is given twice; names must differ")


def _check_labels(y: Tensor, classes: tuple[str, ...]) -> None:
    lo, hi = int(y.min()), int(y.max())
    if lo < 0 or hi >= len(classes):
        raise ValueError(
            f"labels run from {lo} to {hi} but there are {len(classes)} class names; "
            f"labels must lie in 0..{len(classes) - 1}"
        )
    empty = (torch.bincount(y, minlength=len(classes)) == 0).nonzero()
    if len(empty):
        raise ValueError(
            f"class {classes[int(empty[0])]!r} has no item; leave it out of the class names"
        )
