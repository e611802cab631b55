"""Labels for partially labeled items, as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphfew.data.partially_labeled import check_labels
from graphfew.errors import InvalidInputError
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.labeling.label_sources import LabelSource

Array = NDArray[Any]
UNKNOWN_LABEL, TEXT_COLUMN = "unknown", "text"
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
        >>> from graphfew.labeling.label_sources import LabelSource
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0]])
        >>> items = LabelSource(("0", "1", "2"), x, "features", ("cat", "dog", None))
        >>> table = label_items(items, x, gf.FewShotClassifier())
        >>> [row[:2] for row in table.rows()]
        [('0', 'cat'), ('1', 'dog'), ('2', 'cat')]
    """

    items: LabelSource
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

    def columns(self) -> dict[str, list[Any]]:
        """Return the table by column.

        The second label is the next probable class. An unknown item has its most probable class
        there, and no confidence. Items that are texts have a column `text`, too.

        Returns:
            The values `[n]` of each column of `COLUMNS`; None where it is missing.
        """
        classes, confidence, is_given = self.items.classes, self.confidence, self.is_given
        other_probs = self.probs.copy()
        # Below every probability, so that argmax gives the second class.
        other_probs[np.arange(len(other_probs)), self.predicted] = -1
        second = other_probs.argmax(1)
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for i, name in enumerate(self.items.names):
            label, first = classes[self.predicted[i]], float(confidence[i])
            second_label, second_prob = classes[second[i]], float(other_probs[i, second[i]])
            labels: tuple[Any, ...] = (label, first, second_label, second_prob)
            # The most probable class is what to enter if the item is not unknown after all.
            if self.is_unknown[i]:
                labels = (UNKNOWN_LABEL, None, label, first)
            elif is_given[i]:
                labels = (label, first, None, None)
            similarity = float(self.similarity[i])
            row = (name, *labels[:2], similarity, *labels[2:], bool(is_given[i]))
            for column, value in zip(COLUMNS, row, strict=True):
                columns[column].append(value)
        if self.items.kind == "text":
            columns[TEXT_COLUMN] = list(self.items.items)
        return columns

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Iterate over the items as rows of text, with the fields of `columns`."""
        for row in zip(*self.columns().values(), strict=True):
            yield tuple(_to_text(value) for value in row)


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.6f}"


def label_items(
    items: LabelSource,
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
        InvalidInputError: fewer than two classes have a label, a class is called "unknown" and
            there is a threshold, or `FewShotClassifier.fit` rejects the items.

    Example:
        >>> import numpy as np, graphfew as gf
        >>> from graphfew.labeling.label_sources import LabelSource
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]])
        >>> items = LabelSource(("0", "1", "2"), x, "features", ("cat", "dog", None))
        >>> label_items(items, x, gf.FewShotClassifier(), threshold=0.99).is_unknown
        array([False, False,  True])
    """
    check_labels(items.labels)
    if threshold is not None and UNKNOWN_LABEL in items.classes:
        raise InvalidInputError(
            f"a class is called {UNKNOWN_LABEL!r}, which is the label of items below the "
            "threshold; rename the class, or omit the threshold"
        )
    classifier.fit(features, items.class_index)
    probs = classifier.label_distributions_
    predicted = probs.argmax(1)
    similarity = classifier.transduction_similarity_
    if similarity is None:
        similarity = classifier.similarity(features)[np.arange(len(predicted)), predicted]
    is_unknown = np.zeros(len(predicted), dtype=bool)
    if threshold == "auto":
        threshold = classifier.auto_threshold_
    if threshold is not None:
        # A given label stays, however dissimilar the item is to its class.
        is_unknown = (similarity < threshold) & (items.class_index < 0)
    return LabelTable(items, probs, predicted, similarity, is_unknown)
