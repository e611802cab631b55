"""A data set from a torch `Dataset` of (item, label)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from graphfew.data.dataset import Dataset, labeled_items, to_numeric_tensor
from graphfew.data.dataset_labels import read_class_indices, read_labels
from graphfew.data.io.progress import progress_counter
from graphfew.data.item_stack import EncodeItems, ItemReader, stack_items
from graphfew.errors import InvalidTypeError


def from_torch(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    encode: EncodeItems | None = None,
    size: int | None = None,
    channels: int | None = None,
    name: str | None = None,
    split: str = "all",
    unlabeled_marks: Any = None,
    progress: bool = True,
) -> Dataset:
    """Create a data set from a torch `Dataset` of (item, label), such as those of torchvision.

    Each item is read once. Images of Pillow become uint8, so leave out `ToTensor`, whose floats
    need four times the memory. Items without a label are left out with a warning.

    Args:
        dataset: a map-style data set: tensors, arrays, lists of numbers or images of Pillow, each
            with its label.
        classes: name of each class if labels are indices; None takes the attribute `classes`, as
            torchvision's data sets have it, and the labels themselves without one.
        encode: computes features `[m, F]` of a list of items, for texts and other items that are no
            numbers.
        size: side in pixels of the square that images of Pillow are resized to.
        channels: channels of images of Pillow, 1 or 3; None takes those of the first one.
        name: name of the data set; None takes that of its class.
        split: name of the split.
        unlabeled_marks: marks of unknown labels as in `arrays`, if there are no class names.
        progress: show a bar.

    Returns:
        The data set.

    Raises:
        InvalidTypeError: the data set is iterable-style or does not return (item, label), an item is
            not numeric, or a label cannot be read.
        InvalidInputError: items differ in size, no item has a label, or a label has no class name.

    Example:
        >>> import torch, graphfew as gf
        >>> pairs = torch.utils.data.TensorDataset(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
        >>> gf.data.from_torch(pairs, classes=["cat", "dog"])
        Dataset('TensorDataset', split='all', 2 classes, 4 items of shape [2] float32)
    """
    _check_map_style(dataset)
    reader = ItemReader(encode, size, channels)
    names = _class_names(dataset) if classes is None else classes
    name = name or type(dataset).__name__
    labels: list[Any] = []
    n = len(dataset)
    if _is_pair_of_tensors(dataset) and reader == ItemReader():
        # Already stacked: reading the items would copy them.
        items, y = dataset.tensors
        x, labels = to_numeric_tensor(items), y.tolist()
    else:
        with progress_counter(f"reading {name}", n, progress) as on_progress:
            x = stack_items(_items(dataset, n, labels), n, reader, on_progress)
    if names is None:
        return labeled_items(name, split, x, read_labels(labels, unlabeled_marks))
    return labeled_items(name, split, x, read_class_indices(labels, names))


def _check_map_style(dataset: Any) -> None:
    """Raise InvalidTypeError for anything but a map-style data set."""
    if isinstance(dataset, IterableDataset):
        raise InvalidTypeError(
            f"{type(dataset).__name__} is an iterable-style data set, which has no length; pass a "
            "map-style one, or the list of its pairs, as in list(dataset)"
        )
    if isinstance(dataset, Mapping):
        raise InvalidTypeError(
            f"a dict of {', '.join(map(str, dataset)) or 'nothing'} is no torch Dataset; pass one of "
            "its values, or a list of pairs (item, label)"
        )
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise InvalidTypeError(
            f"{type(dataset).__name__} is no torch Dataset; it needs __len__, and __getitem__ that "
            "returns (item, label)"
        )


def _is_pair_of_tensors(dataset: Any) -> bool:
    return isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2


def _class_names(dataset: Any) -> Sequence[str] | None:
    """The attribute `classes` of a data set, or of the one that it is a subset of."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names: Sequence[str] | None = getattr(dataset, "classes", None)
    return names


def _items(dataset: Any, n: int, labels: list[Any]) -> Iterator[Any]:
    """Yield the items, and append their labels to a list."""
    for index in range(n):
        pair = dataset[index]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InvalidTypeError(
                f"item {index} of {type(dataset).__name__} is of type {type(pair).__name__}, not "
                "(item, label); for a data set of Hugging Face use from_huggingface"
            )
        item, label = pair
        labels.append(label.item() if isinstance(label, Tensor | np.generic) else label)
        yield item
