"""Labels for partially labeled items, as a table."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphfew.data.partially_labeled import PartiallyLabeledItems
from graphfew.errors import InvalidInputError
from graphfew.estimators.classifier import FewShotClassifier

Array = NDArray[Any]
UNKNOWN_LABEL = "unknown"
COLUMNS = (
    "item",
    "label",
    "confidence",
    "similarity",
    "second_label",
    "second_confidence",
    "given",
)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelTable:
    """A label for every item of a partially labeled set.

    Attributes:
        items: the items with their given labels.
        probs: `[n, C]` class probabilities; 0 and 1 for items with a given label.
        predicted: `[n]` index of the most probable class.
        similarity: `[n]` similarity of an item to that class (see `FewShotClassifier.similarity`).
        is_unknown: `[n]` bool, items whose similarity is below the threshold.

    Example:
        >>> import numpy as np, graphfew as gf
        >>> from graphfew.data.partially_labeled import PartiallyLabeledItems
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0]])
        >>> items = PartiallyLabeledItems(x, ("cat", "dog", None), ("0", "1", "2"))
        >>> table = label_items(items, x, gf.FewShotClassifier())
        >>> [row[:2] for row in table.rows()]
        [('0', 'cat'), ('1', 'dog'), ('2', 'cat')]
    """

    items: PartiallyLabeledItems
    probs: Array
    predicted: NDArray[np.int64]
    similarity: Array
    is_unknown: NDArray[np.bool_]

    @property
    def is_given(self) -> NDArray[np.bool_]:
        """`[n]` bool, items whose label was given."""
        return self.items.class_index >= 0

    @property
    def is_predicted(self) -> NDArray[np.bool_]:
        """`[n]` bool, items whose label was predicted."""
        return ~self.is_given & ~self.is_unknown

    @property
    def confidence(self) -> Array:
        """`[n]` probability of the most probable class."""
        confidence: Array = self.probs[np.arange(len(self.predicted)), self.predicted]
        return confidence

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Iterate over the items as rows of text.

        The second label is the next probable class. An unknown item has its most probable class
        there, and no confidence.

        Returns:
            An iterator over tuples with the fields of `COLUMNS`.
        """
        classes, confidence, is_given = self.items.classes, self.confidence, self.is_given
        other_probs = self.probs.copy()
        # Below every probability, so that argmax gives the second class.
        other_probs[np.arange(len(other_probs)), self.predicted] = -1
        second = other_probs.argmax(1)
        for i, name in enumerate(self.items.names):
            first_label, first_confidence = classes[self.predicted[i]], f"{confidence[i]:.6f}"
            second_label, second_confidence = classes[second[i]], f"{other_probs[i, second[i]]:.6f}"
            # The most probable class is what to enter if the item is not unknown after all.
            if self.is_unknown[i]:
                second_label, second_confidence = first_label, first_confidence
                first_label, first_confidence = UNKNOWN_LABEL, ""
            elif is_given[i]:
                second_label, second_confidence = "", ""
            yield (
                name,
                first_label,
                first_confidence,
                f"{self.similarity[i]:.6f}",
                second_label,
                second_confidence,
                "true" if is_given[i] else "false",
            )


def label_items(
    items: PartiallyLabeledItems,
    features: Array,
    classifier: FewShotClassifier,
    threshold: float | Literal["auto"] | None = None,
) -> LabelTable:
    """Label all unlabeled items together; the classifier is fitted to them.

    Args:
        items: the items with their given labels.
        features: `[n, ...]` the items in the form that the classifier accepts.
        classifier: of a method that uses unlabeled items.
        threshold: similarity to its class below which an item is unknown; "auto" is the
            `auto_threshold_` of the classifier; None labels all items.

    Returns:
        A label for every item.

    Raises:
        InvalidInputError: a class is called "unknown" and there is a threshold, or
            `FewShotClassifier.fit` rejects the items.

    Example:
        >>> import numpy as np, graphfew as gf
        >>> from graphfew.data.partially_labeled import PartiallyLabeledItems
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]])
        >>> items = PartiallyLabeledItems(x, ("cat", "dog", None), ("0", "1", "2"))
        >>> label_items(items, x, gf.FewShotClassifier(), threshold=0.99).is_unknown
        array([False, False,  True])
    """
    if threshold is not None and UNKNOWN_LABEL in items.classes:
        raise InvalidInputError(
            f"a class is called {UNKNOWN_LABEL!r}, which is the label of items below the "
            "threshold; rename the class, or omit the threshold"
        )
    classifier.fit(features, items.class_index)
    probs = classifier.label_distributions_
    predicted = probs.argmax(1)
    similarity = classifier.similarity(features)[np.arange(len(predicted)), predicted]
    is_unknown = np.zeros(len(predicted), dtype=bool)
    if threshold == "auto":
        threshold = classifier.auto_threshold_
    if threshold is not None:
        # A given label stays, however dissimilar the item is to its class.
        is_unknown = (similarity < threshold) & (items.class_index < 0)
    return LabelTable(items, probs, predicted, similarity, is_unknown)


def write_table(table: LabelTable, path: Path) -> None:
    """Write a table as CSV in UTF-8, with a header of `COLUMNS`.

    Args:
        table: the labels.
        path: the file, which is overwritten.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, numpy as np, graphfew as gf
        >>> from graphfew.data.partially_labeled import PartiallyLabeledItems
        >>> items = PartiallyLabeledItems(np.eye(2), ("cat", "dog"), ("0", "1"))
        >>> table = label_items(items, items.x, gf.FewShotClassifier())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(table, Path(folder) / "labels.csv")
        ...     (Path(folder) / "labels.csv").read_text().splitlines()[1]
        '0,cat,1.000000,1.000000,,,true'
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        # csv ends lines with \r\n by default, on every system.
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(table.rows())
