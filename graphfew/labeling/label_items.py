"""Labels for a pile of items, as a table."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.data.partially_labeled import PartiallyLabeledItems
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
    """A pile with a label for every item.

    Shapes:
        pile: what was labeled.
        shares: `[n, C]` of the classes; those of an item whose label was given are 0 and 1.
        best: `[n]` the class with the largest share.
        similarity: `[n]` of an item to that class, see `FewShotClassifier.similarity`.
        unknown: `[n]` bool, items too far from their class to be of it.
    """

    pile: PartiallyLabeledItems
    shares: Array
    best: NDArray[np.int64]
    similarity: Array
    unknown: NDArray[np.bool_]

    @property
    def given(self) -> NDArray[np.bool_]:
        """`[n]`: whose label was known before."""
        return self.pile.class_index >= 0

    @property
    def answered(self) -> NDArray[np.bool_]:
        """`[n]`: who got a class."""
        return ~self.given & ~self.unknown

    @property
    def confidence(self) -> Array:
        """`[n]`: the share of the best class."""
        out: Array = self.shares[np.arange(len(self.best)), self.best]
        return out

    def rows(self) -> Iterator[tuple[str, ...]]:
        """A row of `COLUMNS` per item. Second is the class to take if the label is wrong; an unknown item has its best
        class there, and no confidence."""
        classes, confidence, given = self.pile.classes, self.confidence, self.given
        behind = self.shares.copy()
        behind[np.arange(len(behind)), self.best] = -1
        second = behind.argmax(1)
        for i, name in enumerate(self.pile.names):
            best, sure, other = classes[self.best[i]], f"{confidence[i]:.6f}", classes[second[i]]
            answer = (UNKNOWN_LABEL, "") if self.unknown[i] else (best, sure)
            doubt = (best, sure) if self.unknown[i] else (other, f"{behind[i, second[i]]:.6f}")
            yield (
                name,
                *answer,
                f"{self.similarity[i]:.6f}",
                *(("", "") if given[i] else doubt),
                "true" if given[i] else "false",
            )


def label_items(
    pile: PartiallyLabeledItems,
    items: Array,
    classifier: FewShotClassifier,
    threshold: float | None = None,
) -> LabelTable:
    """Label all of a pile together, and leave the classifier fitted to it.

    Args:
        pile: with its labels.
        items: `[n, ...]` its items, as the classifier takes them.
        classifier: of any method that makes use of unlabeled items.
        threshold: similarity to its class below which an item is unknown; None has none unknown.

    Raises:
        ValueError: as `FewShotClassifier.fit` does, or a class that is called "unknown" itself, where there is a
            threshold.
    """
    if threshold is not None and UNKNOWN_LABEL in pile.classes:
        raise ValueError(
            f"a class is called {UNKNOWN_LABEL!r}, which is the answer for items below the threshold; "
            "give the class another name, or leave the threshold out"
        )
    classifier.fit(items, pile.class_index)
    shares = classifier.label_distributions_
    best = shares.argmax(1)
    similarity = classifier.similarity(items)[np.arange(len(best)), best]
    far = similarity < threshold if threshold is not None else np.zeros(len(best), dtype=bool)
    return LabelTable(pile, shares, best, similarity, far & (pile.class_index < 0))


def write_table(labeling: LabelTable, path: Path) -> None:
    """Write the rows, under a header, as CSV in UTF-8."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(labeling.rows())
