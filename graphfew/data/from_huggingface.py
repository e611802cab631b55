"""A data set from one of Hugging Face's library `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphfew.data.dataset import Dataset, labeled_items
from graphfew.data.dataset_labels import DatasetLabels, read_class_indices, read_labels
from graphfew.data.io.progress import progress_counter
from graphfew.data.item_stack import CHUNK, EncodeItems, ItemReader, stack_items
from graphfew.errors import InvalidInputError, InvalidTypeError

_LABEL_NAMES = ("label", "labels", "target", "class", "intent")
# Names of the types of columns of numbers, in several versions of the library.
_NUMERIC_TYPES = (
    "List",
    "LargeList",
    "Sequence",
    "list",
    "Array2D",
    "Array3D",
    "Array4D",
    "Array5D",
)


def from_huggingface(
    dataset: Any,
    *,
    items: str | None = None,
    label: str | None = None,
    encode: EncodeItems | None = None,
    size: int | None = None,
    channels: int | None = None,
    name: str | None = None,
    split: str | None = None,
    unlabeled_marks: Any = None,
    progress: bool = True,
) -> Dataset:
    """Create a data set from a `datasets.Dataset` of Hugging Face.

    Only the two columns are read, in chunks. Classes have the names of the label column. Items
    without a label (negative or missing) are left out with a warning, and are not decoded.

    Args:
        dataset: one split, in memory or memory-mapped; not a streaming one.
        items: column of the items: images, lists of numbers, or with `encode` anything; None finds
            it, if there is only one.
        label: column of the labels; None finds it, if there is only one.
        encode: computes features `[m, F]` of a list of items, for texts.
        size: side in pixels of the square that images are resized to.
        channels: channels of images, 1 or 3; None takes those of the first one.
        name: name of the data set; None takes the one that it has.
        split: name of the split; None takes the one that it has.
        unlabeled_marks: marks of unknown labels as in `arrays`, if the column has no class names.
        progress: show a bar.

    Returns:
        The data set.

    Raises:
        InvalidTypeError: it is another object or a streaming data set, or items are not numeric.
        InvalidInputError: a column does not exist or is ambiguous, items differ in size, or no item
            has a label.

    Example:
        >>> import datasets, graphfew as gf
        >>> rows = datasets.Dataset.from_dict({"x": [[0.0, 1], [2, 3]], "label": ["cat", "dog"]})
        >>> gf.data.from_huggingface(rows, name="pets", split="train", progress=False)
        Dataset('pets', split='train', 2 classes, 2 items of shape [2] float32)
    """
    _check_dataset(dataset)
    reader = ItemReader(encode, size, channels)
    features: Mapping[str, Any] = dataset.features
    label_column = _find_label(features, label)
    item_column = _find_items(features, items, label_column, encode)
    labels = _read_labels(dataset, label_column, unlabeled_marks)
    rows = dataset if labels.is_known.all() else dataset.select(np.flatnonzero(labels.is_known))
    name = name or getattr(dataset.info, "dataset_name", None) or "huggingface"
    with progress_counter(f"reading {name}", len(rows), progress) as on_progress:
        x = stack_items(_items(rows, item_column), len(rows), reader, on_progress)
    known = DatasetLabels(labels.classes, labels.index[labels.is_known], labels.notes)
    return labeled_items(name, split or str(dataset.split or "all"), x, known)


def _check_dataset(dataset: Any) -> None:
    if isinstance(dataset, Mapping):
        splits = ", ".join(map(str, dataset))
        raise InvalidTypeError(
            f"{type(dataset).__name__} has several splits ({splits}); pass one of them, as in "
            'dataset["train"]'
        )
    is_table = hasattr(dataset, "with_format") and hasattr(dataset, "column_names")
    if is_table and not hasattr(dataset, "__len__"):
        raise InvalidTypeError(
            f"{type(dataset).__name__} is a streaming data set, and a Dataset is in memory; load it "
            "without streaming=True, or take a part: "
            "datasets.Dataset.from_list(list(dataset.take(1000)), features=dataset.features)"
        )
    if not is_table:
        raise InvalidTypeError(
            f"got {type(dataset).__name__}; pass a datasets.Dataset (for a torch Dataset use "
            "from_torch)"
        )


def _find_label(features: Mapping[str, Any], given: str | None) -> str:
    if given is not None:
        return _check_column(features, given, "label")
    named = [column for column, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    candidates = named or [column for column in _LABEL_NAMES if column in features]
    if len(candidates) != 1:
        found = ", ".join(candidates) or "none"
        raise InvalidInputError(
            f"the column of the labels is not clear (candidates: {found}; columns: "
            f"{', '.join(features)}); pass label="
        )
    return candidates[0]


def _find_items(
    features: Mapping[str, Any], given: str | None, label: str, encode: EncodeItems | None
) -> str:
    if given is not None:
        return _check_column(features, given, "items")
    others = [column for column in features if column != label]
    kinds = {column: type(features[column]).__name__ for column in others}
    candidates = [column for column in others if kinds[column] == "Image"]
    candidates = candidates or [column for column in others if kinds[column] in _NUMERIC_TYPES]
    texts = [column for column in others if getattr(features[column], "dtype", "") == "string"]
    if not candidates and encode is not None:
        candidates = texts
    if len(candidates) == 1:
        return candidates[0]
    hint = ""
    if texts and encode is None and not candidates:
        hint = f" The column {texts[0]!r} has texts: pass encode= to turn them into features."
    found = ", ".join(candidates) or "none"
    raise InvalidInputError(
        f"the column of the items is not clear (candidates: {found}; columns: "
        f"{', '.join(features)}); pass items=.{hint}"
    )


def _check_column(features: Mapping[str, Any], column: str, argument: str) -> str:
    if column not in features:
        raise InvalidInputError(
            f"{argument} is {column!r}, but the columns are {', '.join(features)}; pass one of them"
        )
    return column


def _read_labels(dataset: Any, column: str, unlabeled_marks: Any) -> DatasetLabels:
    names: Sequence[str] | None = getattr(dataset.features[column], "names", None)
    values = list(dataset.with_format(None, columns=[column])[:][column])
    if names is None:
        return read_labels(values, unlabeled_marks)
    # A label may be missing, which is None.
    return read_class_indices([-1 if value is None else value for value in values], names)


def _items(dataset: Any, column: str) -> Iterator[Any]:
    """Yield the items, read in chunks."""
    # Lists of numbers arrive as arrays; the transform of a custom format is the user's.
    is_numeric = type(dataset.features[column]).__name__ in _NUMERIC_TYPES
    if dataset.format["type"] != "custom":
        dataset = dataset.with_format("numpy" if is_numeric else None, columns=[column])
    for start in range(0, len(dataset), CHUNK):
        yield from dataset[start : start + CHUNK][column]
