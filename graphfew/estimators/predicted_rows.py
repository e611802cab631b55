"""Labels, probabilities and similarities of items in one pass."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.estimators import _validation
from graphfew.estimators.classifier import FewShotClassifier


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedRows:
    """Predictions of items.

    Attributes:
        labels: `[n]`, as `FewShotClassifier.predict` returns them.
        probs: `[n, C]` class probabilities.
        similarity: `[n]` similarity to the most probable class.
    """

    labels: NDArray[Any]
    probs: NDArray[Any]
    similarity: NDArray[Any]


def predict_rows(classifier: FewShotClassifier, x: Any) -> PredictedRows:
    """Predict items once for all that is reported of them.

    Args:
        classifier: fitted.
        x: `[n, F]` items.

    Returns:
        The predictions.

    Example:
        >>> import graphfew as gf
        >>> classifier = gf.FewShotClassifier().fit([[0, 1], [1, 0]], ["a", "b"])
        >>> predict_rows(classifier, [[0, 1]]).labels
        array(['a'], dtype='<U1')
    """
    probs = classifier.predict_proba(x)
    predicted = probs.argmax(1)
    similarity = classifier.similarity(x)[np.arange(len(predicted)), predicted]
    labels = classifier.classes_[predicted]
    if classifier.unknown_threshold is not None:
        is_unknown = similarity < classifier._threshold()
        labels = _validation.mark_unknown(labels, is_unknown, classifier.unknown_label)
    return PredictedRows(labels, probs, similarity)
