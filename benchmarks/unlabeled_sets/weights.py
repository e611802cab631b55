"""Weights of `method="auto"` that were fitted without one data set, so that it measures them fairly."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from graphfew.estimators import EnsembleWeights, weights_from

LEAVE_ONE_OUT = Path(__file__).parent / "results" / "auto-weights.json"


def weights_without(dataset: str) -> EnsembleWeights:
    """Read the weights that were fitted on all data sets but one.

    Raises:
        KeyError: there are none for this data set; run `python -m benchmarks.unlabeled_sets.fit_weights`.
    """
    return read_weights()[dataset]


@functools.cache
def read_weights() -> dict[str, EnsembleWeights]:
    """Read the weights for every data set that was left out."""
    content = json.loads(LEAVE_ONE_OUT.read_text("utf-8"))
    return {name: weights_from(weights) for name, weights in content["without"].items()}
