"""A digest of what a classifier was fitted to, by which results of an earlier fit are recognized."""

from __future__ import annotations

import hashlib

import numpy as np

from graphfew.estimators import _validation
from graphfew.estimators.classifier import FewShotClassifier


def fit_digest(classifier: FewShotClassifier) -> str:
    """Return a digest of a fitted classifier's parameters, items and labels.

    Args:
        classifier: fitted.

    Returns:
        The digest; a fit with the same parameters to the same items has the same one, although
        its numbers may differ by rounding.

    Example:
        >>> import graphfew as gf
        >>> fit = lambda labels: gf.FewShotClassifier().fit([[0, 1], [1, 0]], labels)
        >>> fit_digest(fit(["a", "b"])) == fit_digest(fit(["a", "b"])) != fit_digest(fit(["b", "a"]))
        True
    """
    digest = hashlib.sha256()
    # The names of encoders and methods identify them; objects would show their address.
    parameters = {
        name: value
        if isinstance(value, str | int | float | dict | tuple | None)
        else str(type(value))
        for name, value in classifier.get_params(deep=False).items()
    }
    digest.update(repr(sorted(parameters.items())).encode())
    digest.update(repr(classifier.classes_.tolist()).encode())
    digest.update(np.ascontiguousarray(classifier._class_index).tobytes())
    items = classifier._X
    for start in range(0, items.shape[0], classifier.batch_size):
        rows = _validation.to_dense(items[start : start + classifier.batch_size])
        digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()
