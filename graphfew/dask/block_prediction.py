"""Predictions of a fitted classifier for Dask arrays and delayed blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphfew.dask.cluster_client import import_distributed
from graphfew.dask.parquet_partitions import Array
from graphfew.errors import InvalidInputError
from graphfew.estimators.classifier import FewShotClassifier


def predict_array(classifier: FewShotClassifier, x: Any) -> Any:
    """Predict the rows of a Dask array, lazily and block by block.

    Args:
        classifier: fitted, with `transductive=False`.
        x: `[n, F]` `dask.array.Array`.

    Returns:
        `[n]` Dask array of labels, with the blocks of `x`.

    Raises:
        MissingDependencyError: Dask is not installed.
        InvalidInputError: the classifier is transductive, or `x` is no matrix.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.dask import predict_array
        >>> classifier = gf.FewShotClassifier().fit([[0, 1], [1, 0]], ["cat", "dog"])
        >>> predict_array(classifier, x).compute()  # doctest: +SKIP
        array(['cat', 'dog', 'cat'], dtype='<U3')
    """
    import_distributed()
    from dask.delayed import delayed

    _check_inductive(classifier)
    if x.ndim != 2:
        raise InvalidInputError(f"x has shape {x.shape}; give a Dask array [n, F]")
    # A block must have whole rows.
    rows = x.rechunk({1: -1})
    # Delayed once: as a plain argument the classifier would be part of each block's task.
    model = delayed(classifier, pure=False)
    return rows.map_blocks(_predict, model, drop_axis=1, dtype=classifier.classes_.dtype)


def predict_blocks(classifier: FewShotClassifier, blocks: Sequence[Any]) -> list[Any]:
    """Predict delayed blocks of items, such as the partitions of other libraries.

    Args:
        classifier: fitted, with `transductive=False`.
        blocks: `dask.delayed` values, each `[n, F]`.

    Returns:
        The labels of each block, delayed.

    Raises:
        MissingDependencyError: Dask is not installed.
        InvalidInputError: the classifier is transductive.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.dask import predict_blocks
        >>> classifier = gf.FewShotClassifier().fit([[0, 1], [1, 0]], ["cat", "dog"])
        >>> dask.compute(*predict_blocks(classifier, blocks))  # doctest: +SKIP
    """
    import_distributed()
    from dask.delayed import delayed

    _check_inductive(classifier)
    model = delayed(classifier, pure=False)
    predict = delayed(_predict, pure=False)
    return [predict(block, model) for block in blocks]


def _predict(block: Array, classifier: FewShotClassifier) -> Array:
    return np.asarray(classifier.predict(block))


def _check_inductive(classifier: FewShotClassifier) -> None:
    if classifier.transductive:
        raise InvalidInputError(
            "the classifier is transductive, so predictions depend on all items of a call; use "
            "transductive=False for blocks"
        )
