"""The models of a fitted estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from graphfew import backbones
from graphfew.core.episode import UNKNOWN, Episode
from graphfew.errors import InvalidInputError
from graphfew.estimators import _validation
from graphfew.methods.registry import MethodSpec, create, find_method
from graphfew.nn.method import GraphMethod
from graphfew.serialization.checkpoint import load_bytes

Array = NDArray[Any]


class ModelFactory:
    """Builds the models of one method for one kind of items, each once.

    Models contain closures and cannot be pickled, so a pickle of the factory holds what they are
    built from. The content of a checkpoint is part of it: the file may be gone by then.

    Args:
        method: a registered name, or the path of a checkpoint for error messages.
        arguments: arguments of a registered method.
        content: the content of the checkpoint; None for a registered method.
        n_features: number of values of an item.
    """

    def __init__(
        self,
        method: str,
        arguments: Mapping[str, Any] | None,
        content: bytes | None,
        n_features: int,
    ) -> None:
        self.method = method
        self.arguments = arguments
        self.content = content
        self.n_features = n_features
        self._models: dict[tuple[bool, torch.dtype], GraphMethod] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_models": {}}

    def model(self, *, transductive: bool, dtype: torch.dtype) -> GraphMethod:
        """The model in a mode, if the method has both, with weights of a dtype."""
        # One model per dtype: converting a model back and forth would round its weights.
        key = (transductive, dtype)
        if key not in self._models:
            self._models[key] = self._build(transductive).to(dtype).eval()
        return self._models[key]

    def method_spec(self, model: GraphMethod) -> MethodSpec | None:
        """The registered facts about the method; None if it is not registered."""
        name = self.name(model)
        return None if name is None else find_method(name)

    def name(self, model: GraphMethod) -> str | None:
        """The registered name of the method."""
        if self.content is None:
            return self.method
        return None if model.spec is None else model.spec.name

    def _build(self, transductive: bool) -> GraphMethod:
        if self.content is not None:
            model = load_bytes(self.content)
            if model.transductive == transductive:
                return model
            return model.in_mode(transductive=transductive)
        spec = find_method(self.method)
        arguments = dict(self.arguments or {})
        if spec.inductive and spec.transductive:
            # A mode among the given arguments takes precedence.
            arguments = {"transductive": transductive, **arguments}
        return create(self.method, encoder=backbones.identity(self.n_features), **arguments)


def check_method(
    factory: ModelFactory, X: Any, class_index: Array, n_classes: int, *, transductive: bool
) -> None:
    """Raise InvalidInputError if the method cannot be fitted to these items, before any work."""
    model = factory.model(transductive=transductive, dtype=_validation.float_dtype(X))
    name, spec = factory.name(model), factory.method_spec(model)
    if spec is not None:
        if not (spec.transductive if transductive else spec.inductive):
            only = "inductive" if transductive else "transductive"
            raise InvalidInputError(
                f"{name} is {only} only; give transductive={not transductive}, or another method"
            )
        n_unlabeled = int((class_index < 0).sum())
        if n_unlabeled and not spec.unlabeled:
            raise InvalidInputError(
                f"{name} cannot use the {n_unlabeled} unlabeled items; remove them, or use a method "
                "that can, such as pool_prototypes or label_propagation"
            )
    if factory.content is None and needs_trained_layers(spec, model):
        raise InvalidInputError(
            f"{name} has weights that must be trained first; give the path of a checkpoint, or a "
            "method that needs no training"
        )
    _check_episode(model, X, class_index, n_classes)


def check_head(head: ModelFactory, X: Any) -> None:
    """Raise InvalidInputError if the head cannot predict each item alone without training."""
    # A transductive-only head is rejected by name; its model is not built in a mode it lacks.
    spec = find_method(head.method)
    dtype = _validation.float_dtype(X)
    if not spec.inductive or needs_trained_layers(
        spec, head.model(transductive=False, dtype=dtype)
    ):
        raise InvalidInputError(
            f"the head {head.method} cannot predict each item alone without training; give one that "
            "can, such as linear_head or prototypical"
        )


def needs_trained_layers(spec: MethodSpec | None, model: GraphMethod) -> bool:
    """Whether a model has weights, besides its encoder, that must be trained to predict well."""
    if spec is not None and spec.works_untrained:
        return False
    # The classifier of boil and cavia is a part of the condition.
    parts = nn.ModuleList([model.layers])
    if isinstance(model.condition, nn.Module):
        parts.append(model.condition)
    return any(weight.requires_grad for weight in parts.parameters())


def _check_episode(model: GraphMethod, X: Any, class_index: Array, n_classes: int) -> None:
    """Run the method's own check on the smallest episode: one item per class and one query."""
    # Checks depend on shapes and classes only, so the first item doubles as the query.
    first = [int(np.flatnonzero(class_index == c)[0]) for c in range(n_classes)]
    items = torch.tensor(_validation.to_dense(X[[*first, first[0]]]))
    labels = torch.tensor([*range(n_classes), UNKNOWN])
    model.check(Episode.single(items, labels, labels < 0, n_classes))
