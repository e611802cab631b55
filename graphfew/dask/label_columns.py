"""Predicted and given labels as an Arrow table, with the columns of `graphfew label`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.dask.parquet_partitions import Array

UNKNOWN_LABEL = "unknown"


def label_columns(
    names: Sequence[str],
    probs: Array,
    class_index: NDArray[np.int64],
    classes: Sequence[str],
    similarity: Array | None = None,
    threshold: float | None = None,
) -> Any:
    """Build the table of a batch of items, as `LabelTable.columns` does.

    Args:
        names: names of the items.
        probs: `[n, C]` class probabilities.
        class_index: `[n]` given classes; -1 where the label is predicted.
        classes: names of the classes.
        similarity: `[n, C]` similarity to each class; None if the method has none.
        threshold: similarity below which a predicted label is unknown; None if all are labeled.

    Returns:
        An Arrow table.
    """
    arrow = import_module("pyarrow")
    rows = np.arange(len(probs))
    is_given = class_index >= 0
    predicted = np.where(is_given, class_index, probs.argmax(1))
    confidence = np.where(is_given, 1.0, probs[rows, predicted]).astype(np.float64)
    # Below every probability, so that argmax gives the second class.
    others = probs.astype(np.float64)
    others[rows, predicted] = -1
    second = others.argmax(1)
    second_confidence = others[rows, second]
    names_of = np.array([*classes, UNKNOWN_LABEL], dtype=object)
    is_unknown = np.zeros(len(probs), dtype=bool)
    own = None if similarity is None else similarity[rows, predicted].astype(np.float64)
    if own is not None and threshold is not None:
        is_unknown = (own < threshold) & ~is_given
    # An unknown item has its most probable class in the second columns, and no confidence.
    second = np.where(is_unknown, predicted, second)
    second_confidence = np.where(is_unknown, confidence, second_confidence)
    label = np.where(is_unknown, len(classes), predicted)
    text, number = arrow.string(), arrow.float64()
    return arrow.table(
        {
            "item": arrow.array(names, text),
            "label": arrow.array(names_of[label], text),
            "confidence": arrow.array(confidence, number, mask=is_unknown),
            "similarity": arrow.nulls(len(probs), number)
            if own is None
            else arrow.array(own, number),
            "second_label": arrow.array(names_of[second], text, mask=is_given),
            "second_confidence": arrow.array(second_confidence, number, mask=is_given),
            "given": arrow.array(is_given),
        }
    )
