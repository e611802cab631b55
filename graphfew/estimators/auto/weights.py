"""Weights of the ensemble that were fitted over data sets."""

from __future__ import annotations

import dataclasses
import functools
import json
from importlib import resources

FILE = "weights.json"


@dataclasses.dataclass(frozen=True)
class EnsembleWeights:
    """What `fit_ensemble` learned from other data sets.

    Attributes:
        prior: weights of `graphfew.propagation.prior_estimation.prior_features`.
        accuracy: weights of `graphfew.estimators.agreement_features`.

    Example:
        >>> from graphfew.estimators import EnsembleWeights
        >>> weights = EnsembleWeights(prior=(1 / 3,) * 3 + (0.0,) * 8, accuracy=(0.0,) * 16)
    """

    prior: tuple[float, ...]
    accuracy: tuple[float, ...]


@functools.cache
def default_weights() -> EnsembleWeights:
    """Read the weights that were fitted over all data sets of the benchmark of unlabeled sets.

    Returns:
        The weights.

    Example:
        >>> from graphfew.estimators import default_weights
        >>> len(default_weights().prior), len(default_weights().accuracy)
        (11, 16)
    """
    text = resources.files(__package__).joinpath(FILE).read_text("utf-8")
    content = json.loads(text)
    return EnsembleWeights(tuple(content["prior"]), tuple(content["accuracy"]))
