"""Fit one method to a partially labeled set and measure it on the unlabeled items."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import graphfew as gf
from benchmarks.unlabeled_sets.baselines import BASELINES, is_available
from benchmarks.unlabeled_sets.datasets import Array
from benchmarks.unlabeled_sets.settings import LabeledSet
from benchmarks.unlabeled_sets.spec import MethodRow
from benchmarks.unlabeled_sets.weights import weights_without

CONFIDENT = 0.9
BINS = 10
DIGITS = 5


def missing_reason(row: MethodRow) -> str | None:
    """Return why a method cannot run here, or None if it can.

    Raises:
        ValueError: the baseline is unknown.
    """
    if row.baseline is not None:
        if row.baseline not in BASELINES:
            raise ValueError(
                f"unknown baseline {row.baseline!r}; expected one of {', '.join(BASELINES)}"
            )
        return None if is_available(row.baseline) else "its package is not installed"
    if row.method is None or row.method in gf.METHODS:
        return None
    return f"{row.method} is not a registered method"


def measure(row: MethodRow, labeled_set: LabeledSet, dataset: str) -> dict[str, float]:
    """Measure a method on the unlabeled items of a set.

    Args:
        row: the method.
        labeled_set: the set; the method receives its features and given labels only.
        dataset: name of the data set; the weights of `method="auto"` are fitted without it.

    Returns:
        On the unlabeled members: `accuracy`, `confidence` (mean), `calibration_error`,
        `confident_share` (share at confidence 0.9 or more) and, if there are such items,
        `confident_accuracy`. With outliers, `auroc` of the membership score. `seconds` of fit and
        prediction.
    """
    begin = time.perf_counter()
    probs, membership = predict_unlabeled(row, labeled_set.x, labeled_set.y, dataset)
    seconds = time.perf_counter() - begin
    target = labeled_set.target[labeled_set.y < 0]
    is_member = target >= 0
    measured = member_measures(probs[is_member], target[is_member])
    if not is_member.all():
        measured["auroc"] = float(roc_auc_score(is_member, membership))
    rounded = {name: round(value, DIGITS) for name, value in measured.items()}
    return {**rounded, "seconds": round(seconds, 3)}


def predict_unlabeled(row: MethodRow, x: Array, y: Array, dataset: str) -> tuple[Array, Array]:
    """Return class probabilities `[U, C]` and membership scores `[U]` of the unlabeled items."""
    unlabeled = y < 0
    if row.baseline is not None:
        probs, membership = BASELINES[row.baseline](x, y)
        return probs[unlabeled], membership[unlabeled]
    if row.method is None:
        classifier = gf.FewShotClassifier(arguments={"weights": weights_without(dataset)})
    else:
        classifier = gf.FewShotClassifier(row.method, arguments=row.arguments)
    if row.unlabeled:
        probs = classifier.fit(x, y).label_distributions_[unlabeled]
    else:
        probs = classifier.fit(x[~unlabeled], y[~unlabeled]).predict_proba(x[unlabeled])
    return probs, classifier.similarity(x[unlabeled]).max(1)


def member_measures(probs: Array, target: Array) -> dict[str, float]:
    """Return accuracy and calibration of predictions.

    Args:
        probs: `[n, C]` class probabilities.
        target: `[n]` true classes.
    """
    correct = probs.argmax(1) == target
    # Rounding may bring the sum of a row, and so its maximum, above 1.
    confidence = np.clip(probs.max(1).astype(np.float64), 0, 1)
    measured: Mapping[str, float] = {
        "accuracy": correct.mean(),
        "confidence": confidence.mean(),
        "calibration_error": gf.evaluation.calibration_error(
            torch.from_numpy(confidence), torch.from_numpy(correct), BINS
        ),
        "confident_share": (confidence >= CONFIDENT).mean(),
    }
    numbers = {name: float(value) for name, value in measured.items()}
    if numbers["confident_share"] > 0:
        numbers["confident_accuracy"] = float(correct[confidence >= CONFIDENT].mean())
    return numbers
