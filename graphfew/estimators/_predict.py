"""Prediction from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.episode import UNKNOWN, Episode
from graphfew.estimators import _validation
from graphfew.evaluation.prediction import predict
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.ops.magnitude import clamp_magnitude

Array = NDArray[Any]


def class_probabilities(
    model: GraphMethod, context: Array, class_index: Array, queries: Array, n_classes: int
) -> Array:
    """Probabilities `[Q, n_classes]` of queries, given a context with classes, -1 if unknown."""
    x = torch.tensor(np.concatenate([context, queries]))
    y = torch.cat([torch.from_numpy(class_index), torch.full((len(queries),), UNKNOWN)])
    is_query = torch.arange(len(x)) >= len(context)
    with eval_mode(model):
        logits = predict(model, Episode.single(x, y, is_query, n_classes))
    probs: Array = logits.softmax(1).numpy()
    return probs


def unit_features(model: GraphMethod, X: Any, batch_size: int) -> Tensor:
    """Encoded items `[n, F]`, scaled to length 1."""
    features = []
    with eval_mode(model):
        for start in range(0, X.shape[0], batch_size):
            # Sparse items are dense one batch at a time, never as a whole.
            items = torch.tensor(_validation.to_dense(X[start : start + batch_size]))
            features.append(clamp_magnitude(model.encoder(items)))
    return F.normalize(torch.cat(features).flatten(1), dim=1)
