"""Weights of the ensemble that were fitted over data sets."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources

FILE = "weights.json"


@dataclasses.dataclass(frozen=True)
class EnsembleWeights:
    """What `fit_ensemble` learned from other data sets.

    Attributes:
        prior: weights of `graphfew.propagation.prior_estimation.prior_features`.
        mixture: weights of the features of each candidate of the mixture.
        accuracy: weights of `graphfew.estimators.agreement_features`.

    Example:
        >>> from graphfew.estimators import EnsembleWeights
        >>> weights = EnsembleWeights((1 / 3,) * 3 + (0.0,) * 8, (0.0,) * 6, (0.0,) * 18)
    """

    prior: tuple[float, ...]
    mixture: tuple[float, ...]
    accuracy: tuple[float, ...]


@functools.cache
def default_weights() -> EnsembleWeights:
    """Read the weights that were fitted over all data sets of the benchmark of unlabeled sets.

    Returns:
        The weights.

    Example:
        >>> from graphfew.estimators import default_weights
        >>> len(default_weights().prior), len(default_weights().mixture)
        (11, 6)
    """
    text = resources.files(__package__).joinpath(FILE).read_text("utf-8")
    content = json.loads(text)
    return weights_from(content)


def weights_from(content: Mapping[str, Sequence[float]]) -> EnsembleWeights:
    """Build weights from a JSON object.

    Args:
        content: a list of numbers for each attribute.

    Returns:
        The weights.

    Raises:
        KeyError: an attribute is missing.

    Example:
        >>> from graphfew.estimators import weights_from
        >>> weights_from({"prior": [1.0] * 11, "mixture": [0.0] * 6, "accuracy": [0.0] * 18}).mixture
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """
    fields = [tuple(content[field.name]) for field in dataclasses.fields(EnsembleWeights)]
    return EnsembleWeights(*fields)
