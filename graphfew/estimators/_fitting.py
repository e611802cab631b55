"""What a classifier learns from items and labels: class probabilities of the unlabeled ones, and a predictor.

`fit_items` is the one place where methods meet the arrays of an estimator.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.estimators import _validation
from graphfew.estimators._models import ModelFactory
from graphfew.evaluation.fitted import fit_method, predict_unlabeled, with_queries
from graphfew.evaluation.prediction import predict
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import Predictor

Array = NDArray[Any]


@runtime_checkable
class ItemPredictor(Protocol):
    """Predicts items after a fit. It can be pickled."""

    def probabilities(self, items: Any, batch_size: int) -> Array:
        """Compute class probabilities.

        Args:
            items: `[Q, ...]` array, or `[Q, F]` sparse matrix.
            batch_size: number of items that are predicted at a time if each is predicted alone.

        Returns:
            `[Q, C]`, in the dtype of the items.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class FittedItems:
    """The result of a fit.

    Attributes:
        unlabeled_probs: `[U, C]` class probabilities of the unlabeled items, in their order.
        predictor: of other items.
        similarity: `[n]` of all items to their given or most probable class, if the method computes
            it.
        search: name of the neighbor search, if the method has one.
    """

    unlabeled_probs: Array
    predictor: ItemPredictor
    similarity: Array | None = None
    search: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class MethodPredictor:
    """Predicts by one method, from its fitted form or from episodes.

    Models cannot be pickled, so this holds what they are built from, and tensors.

    Attributes:
        factory: of the method.
        transductive: whether all items of a call are predicted together.
        dtype: dtype of the fit. Items of another one are converted if there is a fitted form;
            otherwise the context is.
        fitted: the fitted form of the method; None if it has none in this mode.
        context: the features of all items of the fit with their classes, or the items if the method
            conditions its encoder on them. None if there is a fitted form.
    """

    factory: ModelFactory
    transductive: bool
    dtype: torch.dtype
    fitted: Predictor | None
    context: Episode | None

    def probabilities(self, items: Any, batch_size: int) -> Array:
        """Compute class probabilities, see `ItemPredictor`."""
        dtype = self.dtype if self.fitted is not None else _validation.float_dtype(items)
        model = self.factory.model(transductive=self.transductive, dtype=dtype)
        # Transductive predictions depend on the other items, so these cannot be split.
        step = items.shape[0] if model.transductive else batch_size
        probs = []
        with eval_mode(model):
            for start in range(0, items.shape[0], step):
                x = as_tensor(items[start : start + step], dtype)
                probs.append(self._logits(model, x).softmax(1))
        out: Array = torch.cat(probs).numpy()
        return out.astype(np.result_type(items.dtype, np.float32), copy=False)

    def _logits(self, model: GraphMethod, x: Tensor) -> Tensor:
        if self.fitted is not None:
            return self.fitted(model.encode_items(x))
        assert self.context is not None
        context = self.context.to(x.dtype)
        if model.condition is not None:
            return predict(model, with_queries(context, x))
        return predict(model.on_features(), with_queries(context, model.encode_items(x)))


def encode_items(factory: ModelFactory, X: Any, *, transductive: bool, batch_size: int) -> Tensor:
    """Encode items `[n, ...]` to features `[n, F]`, a batch at a time."""
    dtype = _validation.float_dtype(X)
    model = factory.model(transductive=transductive, dtype=dtype)
    # Sparse items are dense one batch at a time.
    batches = (X[start : start + batch_size] for start in range(0, X.shape[0], batch_size))
    features: Tensor | None = None
    start = 0
    with eval_mode(model):
        for batch in batches:
            encoded = model.encode_items(as_tensor(batch, dtype))
            if features is None:
                features = encoded.new_empty(X.shape[0], *encoded.shape[1:])
            features[start : start + len(encoded)] = encoded
            start += len(encoded)
    assert features is not None  # scikit-learn's checks reject empty items
    return features


def fit_items(
    factory: ModelFactory,
    X: Any,
    features: Tensor,
    class_index: NDArray[np.int64],
    n_classes: int,
    *,
    transductive: bool,
) -> FittedItems:
    """Fit a method to items.

    Args:
        factory: of the method.
        X: `[n, ...]` items.
        features: `[n, F]` these items as `encode_items` returns them.
        class_index: `[n]` class of each item, -1 if unlabeled.
        n_classes: number of classes.
        transductive: whether later items are predicted together, if the method can do both.

    Returns:
        Class probabilities of the unlabeled items, and the predictor of other items.
    """
    model = factory.model(transductive=transductive, dtype=features.dtype)
    labels = torch.from_numpy(class_index)
    if model.condition is None:
        context, model = Episode.context(features, labels, n_classes), model.on_features()
    else:
        items = as_tensor(X, features.dtype)
        context = Episode.context(items, labels, n_classes)
    with eval_mode(model):
        if model.transductive:
            logits, fitted = predict_unlabeled(model, context), None
        else:
            result = fit_method(model, context)
            logits, fitted = result.unlabeled_logits(), result.fitted
    predictor = MethodPredictor(
        factory,
        transductive,
        features.dtype,
        None if fitted is None else fitted.predictor,
        context if fitted is None else None,
    )
    return FittedItems(logits.softmax(1).numpy(), predictor)


def as_tensor(rows: Any, dtype: torch.dtype) -> Tensor:
    """Copy rows of an array or a sparse matrix to a dense tensor."""
    return torch.tensor(_validation.to_dense(rows)).to(dtype)
