"""Data sets in memory: items, their classes, and optional groups and metadata."""

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

from graphfew._utils.data_warning import warn_data
from graphfew.data.dataset_labels import DatasetLabels, read_labels
from graphfew.data.table_columns import drop_index
from graphfew.errors import InvalidInputError, InvalidTypeError

_META_DEVICE = (
    "x is on torch's meta device, which holds shapes and no values; pass the items themselves"
)


# eq=False: the generated comparison would compare tensors, whose truth value is ambiguous.
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Items with class labels, completely in memory.

    Attributes:
        name: name of the data set.
        split: name of the split.
        x: `[n, ...]` items on any device: uint8 images `[n, c, h, w]`, floating features, or int64
            word indices.
        y: `[n]` int64 on the CPU, class index of each item, `0 .. len(classes) - 1`.
        classes: name of each class.
        groups: group of each class (the alphabet in Omniglot), or empty.
        metadata: further attributes of the items, each `[n, ...]` (the `drawer` in Omniglot).

    Raises:
        InvalidTypeError: `x` or `y` is not a dense tensor of a supported dtype, or names are not a
            tuple of text.
        InvalidInputError: there are no items, lengths differ, `x` is not finite, a label has no
            class, a class has no item, a class name is repeated, or `y` is not on the CPU.

    Example:
        >>> Dataset("points", "all", torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), ("a", "b"))
        Dataset('points', split='all', 2 classes, 4 items of shape [2] float32)
    """

    name: str
    split: str
    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    groups: tuple[str, ...] = ()
    metadata: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_types(self.x, self.y)
        _check_shapes(self.x, self.y)
        _check_finite(self.x)
        _check_names(self.classes, self.groups)
        _check_labels(self.y, self.classes)
        for key, value in self.metadata.items():
            if len(value) != len(self.y):
                raise InvalidInputError(
                    f"metadata[{key!r}] has {len(value)} values and x {len(self.x)} items; pass "
                    "one per item"
                )

    def __repr__(self) -> str:
        shape = list(self.x.shape[1:])
        dtype = str(self.x.dtype).removeprefix("torch.")
        return (
            f"Dataset({self.name!r}, split={self.split!r}, {len(self.classes)} classes, "
            f"{len(self)} items of shape {shape} {dtype})"
        )

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def members(self) -> tuple[NDArray[np.int64], ...]:
        """Indices of the items of each class, ascending."""
        y = self.y.numpy(force=True)
        class_sizes = np.bincount(y, minlength=len(self.classes))
        # One sort instead of a pass per class; stable, so that the items of a class stay ascending.
        items_by_class = np.argsort(y, kind="stable")
        return tuple(np.split(items_by_class, np.cumsum(class_sizes)[:-1]))

    @cached_property
    def group_classes(self) -> Mapping[str, NDArray[np.int64]]:
        """Indices of the classes of each group, ascending; empty if there are no groups."""
        # In order of first appearance, unlike a set: the draws of `Tasks` depend on the order.
        groups = np.array(self.groups)
        return {name: np.flatnonzero(groups == name) for name in dict.fromkeys(self.groups)}

    def to(self, device: torch.device | str) -> Dataset:
        """Return the data set with `x` on a device, where its tasks are then gathered.

        Images stay uint8.

        Example:
            >>> data = arrays(torch.zeros(4, 2), [0, 0, 1, 1])
            >>> data.to("cpu").x.device
            device(type='cpu')
        """
        return dataclasses.replace(self, x=self.x.to(device))

    def gather(self, index: Int[Tensor, " m"] | NDArray[np.int64]) -> Shaped[Tensor, "m ..."]:
        """Return items as a model takes them.

        Args:
            index: `[m]` indices of items.

        Returns:
            `[m, ...]` a copy on the device of `x`: float32, with uint8 values divided by 255; int64
            stays int64.

        Example:
            >>> data = arrays(torch.full((4, 1, 2, 2), 255, dtype=torch.uint8), [0, 0, 1, 1])
            >>> data.gather(torch.tensor([3])).flatten()
            tensor([1., 1., 1., 1.])
        """
        index = torch.as_tensor(index).to(self.x.device)
        # Word indices are looked up in an embedding, which needs integers.
        if self.x.dtype == torch.int64:
            return self.x[index]
        if self.x.dtype != torch.uint8:
            return self.x[index].to(torch.float32)
        if self.x.device.type != "cpu":
            # Indexed while the items are uint8, so that only a quarter of the bytes is gathered.
            return self.x[index].to(torch.float32) / 255
        # numpy converts and divides in one pass and one thread; for batches of small images that is
        # faster than torch, whose threads cost more than they save.
        pixels = self.x.numpy()[index.numpy()]
        return torch.from_numpy(np.true_divide(pixels, np.float32(255), dtype=np.float32))


def arrays(
    x: Any, y: Any, *, name: str = "arrays", split: str = "all", unlabeled_marks: Any = None
) -> Dataset:
    """Create a data set from arrays, tensors, tables or nested lists.

    Items without a label are left out with a warning, because tasks are drawn by class. The index
    that pandas writes is ignored with a warning, too.

    Args:
        x: `[n, ...]` items. uint8 stays uint8 (images `[n, c, h, w]`, 0..255); other integers and
            booleans become float32.
        y: `[n]` labels of any sortable type.
        name: name of the data set.
        split: name of the split.
        unlabeled_marks: the mark or marks of unknown labels; `()` if every label is a class. None
            takes the default ones: -1, "unlabeled", "NA" and others (see
            `graphfew.data.labels.resolve_labels`).

    Returns:
        A data set whose classes are the sorted distinct labels, named `str(label)`.

    Raises:
        InvalidTypeError: `x` is not numeric, or `y` cannot be read as labels.
        InvalidInputError: lengths differ, no label is known, classes are text and numbers, or
            another condition of `Dataset` is violated.

    Example:
        >>> data = arrays([[0.1], [0.2], [0.9]], ["low", "low", "high"])
        >>> data.classes, data.y
        (('high', 'low'), tensor([1, 1, 0]))
    """
    labels = read_labels(y, unlabeled_marks)
    table, column_notes = drop_index(x)
    data = labeled_items(name, split, to_numeric_tensor(table), labels)
    warn_data(column_notes)
    return data


def labeled_items(name: str, split: str, x: Tensor, labels: DatasetLabels) -> Dataset:
    """Create a data set of the items that have a label, with a warning about the others.

    Args:
        name: name of the data set.
        split: name of the split.
        x: `[n, ...]` items.
        labels: their labels.

    Raises:
        InvalidTypeError, InvalidInputError: as for `Dataset`.
    """
    index = torch.from_numpy(labels.index)
    # Items of another number are reported by `Dataset`.
    if not labels.is_known.all() and x.ndim and len(x) == len(index):
        is_known = torch.from_numpy(labels.is_known)
        x, index = x[is_known], index[is_known]
    data = Dataset(name, split, x, index, labels.classes)
    warn_data(labels.notes)
    return data


def to_numeric_tensor(x: Any) -> Tensor:
    """Convert items to a tensor on the CPU: bytes and floats keep their dtype, others are float32."""
    if isinstance(x, Tensor):
        if x.is_meta:
            raise InvalidInputError(_META_DEVICE)
        tensor = x.detach().cpu()
    else:
        # A copy, so that the data set does not change with the array.
        values = np.array(x)
        # Booleans, unsigned and signed integers, and floating point; no text, objects or complex.
        if values.dtype.kind not in "buif":
            raise InvalidTypeError(
                f"x has dtype {values.dtype}; pass numbers: uint8 images or features"
            )
        tensor = torch.as_tensor(values)
    if tensor.dtype == torch.uint8 or tensor.is_floating_point():
        return tensor
    return tensor.to(torch.float32)


def _check_types(x: Tensor, y: Tensor) -> None:
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            raise InvalidTypeError(
                f"{name} must be a dense torch.Tensor, got {type(value).__name__}; convert it, or "
                "use `arrays`"
            )
    if y.device.type != "cpu":
        raise InvalidInputError(
            f"y is on {y.device}; keep labels on the CPU, where tasks are drawn (x may be anywhere)"
        )
    # Torch's 8-bit floating dtypes lack the operations that tasks need.
    is_floating = x.is_floating_point() and x.dtype.itemsize > 1
    if x.dtype not in (torch.uint8, torch.int64) and not is_floating:
        raise InvalidTypeError(
            f"x is {x.dtype}; it must be uint8 (images), floating (features) or int64 (word "
            "indices)"
        )
    if y.dtype != torch.int64:
        raise InvalidTypeError(
            f"y is {y.dtype}; it must be torch.int64 (use `arrays` for labels of another type)"
        )


def _check_shapes(x: Tensor, y: Tensor) -> None:
    if x.ndim < 2 or y.ndim != 1:
        raise InvalidInputError(
            f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}; x must be [n, ...], y [n]"
        )
    if len(x) != len(y):
        raise InvalidInputError(
            f"lengths differ: x has {len(x)} items and y {len(y)} labels; pass one label per item"
        )
    if x.numel() == 0:
        raise InvalidInputError(
            f"x is empty, shape {tuple(x.shape)}; a data set needs at least one item with values"
        )


def _check_finite(x: Tensor) -> None:
    if not x.is_floating_point():
        return
    if x.is_meta:
        raise InvalidInputError(_META_DEVICE)
    if not bool(torch.isfinite(x).all()):
        is_invalid = (~torch.isfinite(x)).flatten(1).any(1)
        first = int(is_invalid.nonzero()[0])
        raise InvalidInputError(
            f"x has NaN or infinite values (first in item {first}); remove or impute them"
        )


def _check_names(classes: tuple[str, ...], groups: tuple[str, ...]) -> None:
    for name, value in (("classes", classes), ("groups", groups)):
        # A single text would pass as a sequence of names of one letter each.
        if not isinstance(value, tuple) or not all(isinstance(part, str) for part in value):
            raise InvalidTypeError(f"{name} is {reprlib.repr(value)}; pass a tuple of names")
    if groups and len(groups) != len(classes):
        raise InvalidInputError(
            f"groups has {len(groups)} names and classes {len(classes)}; pass one per class"
        )
    if len(set(classes)) != len(classes):
        repeated = next(name for i, name in enumerate(classes) if name in classes[:i])
        raise InvalidInputError(f"class name {repeated!r} is given twice; names must differ")


def _check_labels(y: Tensor, classes: tuple[str, ...]) -> None:
    lowest, highest = int(y.min()), int(y.max())
    if lowest < 0 or highest >= len(classes):
        raise InvalidInputError(
            f"labels run from {lowest} to {highest} but there are {len(classes)} class names; "
            f"labels must be in 0..{len(classes) - 1}"
        )
    # A class without items would otherwise fail only once a task draws it.
    class_sizes = torch.bincount(y, minlength=len(classes))
    empty = (class_sizes == 0).nonzero()
    if len(empty):
        raise InvalidInputError(
            f"class {classes[int(empty[0])]!r} has no item; remove it from the class names"
        )
