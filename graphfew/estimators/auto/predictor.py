"""The ensemble as an estimator's method: arrays in, probabilities out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import UNKNOWN
from graphfew.errors import InvalidInputError
from graphfew.estimators import _validation
from graphfew.estimators._fitting import FittedItems, as_tensor
from graphfew.estimators.auto.ensemble import Ensemble, fit_ensemble
from graphfew.estimators.auto.weights import EnsembleWeights, default_weights

Array = NDArray[Any]
AUTO = "auto"
ROWS_PER_BLOCK = 16_384


@dataclasses.dataclass(frozen=True, eq=False)
class AutoPredictor:
    """Predicts by a fitted ensemble.

    Attributes:
        ensemble: of the items of the fit.
        dtype: dtype of the fit; items of another one are converted.
        context: features `[N, F]` and labels `[N]` of the fit, with which the items of a call are
            fitted again; None predicts each item alone.
        weights: of the ensemble.
    """

    ensemble: Ensemble
    dtype: torch.dtype
    context: tuple[Tensor, Tensor] | None
    weights: EnsembleWeights

    def probabilities(self, items: Any, batch_size: int) -> Array:
        """Compute class probabilities, see `ItemPredictor`."""
        if self.context is not None:
            logits = self._transductive_logits(as_tensor(items, self.dtype))
        else:
            logits = self._by_batch(self.ensemble.logits, items, batch_size)
        out: Array = logits.softmax(1).numpy()
        return out.astype(np.result_type(items.dtype, np.float32), copy=False)

    def similarity(self, items: Any, batch_size: int) -> Array:
        """Compute how close items are to each class, see `Ensemble.similarity`."""
        similarity = self._by_batch(self.ensemble.similarity, items, batch_size)
        out: Array = similarity.numpy()
        return out.astype(np.result_type(items.dtype, np.float32), copy=False)

    def _by_batch(
        self, function: Callable[[Tensor], Tensor], items: Any, batch_size: int
    ) -> Tensor:
        # Sparse matrices have a shape, but no length.
        starts = range(0, items.shape[0], batch_size)
        with torch.no_grad():
            batches = (as_tensor(items[i : i + batch_size], self.dtype) for i in starts)
            return torch.cat([function(batch) for batch in batches])

    def _transductive_logits(self, queries: Tensor) -> Tensor:
        assert self.context is not None
        x, labels = self.context
        unknown = torch.full((len(queries),), UNKNOWN)
        fit = fit_ensemble(
            torch.cat([x, queries.to(x.dtype)]),
            torch.cat([labels, unknown]),
            self.ensemble.propagated.shape[1],
            self.weights,
        )
        return fit.logits[len(x) :]


def fit_auto(
    X: Any,
    class_index: NDArray[np.int64],
    n_classes: int,
    *,
    transductive: bool,
    weights: EnsembleWeights | None = None,
) -> FittedItems:
    """Fit the ensemble to items.

    Args:
        X: `[n, F]` items.
        class_index: `[n]` class of each item, -1 if unlabeled.
        n_classes: number of classes.
        transductive: whether later items are predicted together.
        weights: of the ensemble; None for those that were fitted over all data sets.

    Returns:
        Class probabilities of the unlabeled items, and the predictor of other items.
    """
    weights = default_weights() if weights is None else weights
    dtype = _validation.float_dtype(X)
    # Features of 16 bits are converted block by block.
    x = torch.from_numpy(X) if X.dtype == np.float16 else as_tensor(X, dtype)
    labels = torch.from_numpy(class_index)
    fit = fit_ensemble(x, labels, n_classes, weights)
    context = (x, labels) if transductive else None
    predictor = AutoPredictor(fit.ensemble, dtype, context, weights)
    probs = fit.logits[labels == UNKNOWN]
    for block in torch.split(probs, ROWS_PER_BLOCK):
        block.copy_(block.softmax(1))
    assigned = torch.where(labels == UNKNOWN, fit.logits.argmax(1), labels)
    similarity = fit.similarity.gather(1, assigned[:, None])[:, 0]
    return FittedItems(probs.numpy(), predictor, similarity.numpy(), fit.search)


def check_auto(arguments: Any, X: Any) -> None:
    """Raise InvalidInputError for arguments or items that the ensemble cannot use."""
    unknown = sorted(set(arguments or {}) - {"weights"})
    if unknown:
        raise InvalidInputError(
            f'method="auto" has no argument {unknown[0]!r}; omit the arguments, or name a method, '
            "such as label_propagation"
        )
    if len(X.shape) != 2:
        raise InvalidInputError(
            f'method="auto" needs features [n, F], and the items have shape {tuple(X.shape)}; '
            "encode them first, or give a checkpoint"
        )
