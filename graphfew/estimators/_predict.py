"""Models that are asked with arrays: made for items as they come, from a name or a checkpoint's content."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew import backbones
from graphfew.core.episode import UNKNOWN, Episode
from graphfew.evaluation.prediction import predict
from graphfew.methods.registry import create, find_method
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.serialization import checkpoint

Array = NDArray[Any]


def class_probabilities(
    model: GraphMethod, context: Array, known: Array, queries: Array, way: int
) -> Array:
    """`[queries, way]`: what a model says of queries next to a context of known and unknown (-1) classes."""
    x = torch.tensor(np.concatenate([context, queries]))
    y = torch.cat([torch.from_numpy(known), torch.full((len(queries),), UNKNOWN)])
    model = model.to(x.dtype)
    with eval_mode(model):
        logits = predict(model, Episode.single(x, y, torch.arange(len(x)) >= len(context), way))
    out: Array = logits.softmax(1).numpy()
    return out


def unlearned(
    name: str, arguments: Mapping[str, Any] | None, transductive: bool, items: Any
) -> GraphMethod:
    """A registered method on such items as features, in the mode asked for where it has both."""
    method = find_method(name)
    both = {"transductive": transductive} if method.inductive and method.transductive else {}
    encoder = backbones.identity(int(np.prod(items.shape[1:])))
    return create(name, encoder=encoder, **both, **dict(arguments or {}))


def learns(model: GraphMethod) -> bool:
    """Whether its layers have weights to be trained."""
    return any(weight.requires_grad for weight in model.layers.parameters())


def float_type(items: Any) -> torch.dtype:
    """torch's float32 for items of that type, else float64."""
    return torch.float32 if items.dtype == np.float32 else torch.float64


def from_bytes(content: bytes) -> GraphMethod:
    """The model of a checkpoint's content."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"model{checkpoint.SUFFIX}"
        file.write_bytes(content)
        return checkpoint.load(file)
