"""The fitted form of a method: its prediction for any number of queries, given one context."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from graphfew.core.episode import UNKNOWN, Episode
from graphfew.errors import InvalidInputError
from graphfew.evaluation.prediction import predict
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FittedContext


@dataclasses.dataclass(frozen=True, eq=False)
class FittedMethod:
    """A method with the context of one task, for queries that come later.

    `predict_logits` computes what does not depend on the query only once, if the method has a
    fitted form (`fitted` is not None). Otherwise it runs the method on the context and the queries.

    Attributes:
        model: an inductive method.
        context: the context as items, without queries.
        fitted: the fitted form; None if the method has none.

    Example:
        >>> import torch, graphfew as gf
        >>> context = gf.Episode.context(torch.eye(2), torch.tensor([0, 1]), way=2)
        >>> model = gf.create("simpleshot", encoder=gf.backbones.identity(2))
        >>> fitted = gf.evaluation.fit_method(model, context)
        >>> fitted.predict_logits(torch.tensor([[2.0, 1.0]])).argmax(1)
        tensor([0])
    """

    model: GraphMethod
    context: Episode
    fitted: FittedContext | None

    @torch.no_grad()
    def predict_logits(self, x: Shaped[Tensor, "Q ..."]) -> Float[Tensor, "Q way"]:
        """Predict queries, each alone.

        Args:
            x: items `[Q, ...]`.

        Returns:
            Logits `[Q, way]`, those of the method on an episode of the context and these queries.
        """
        if self.fitted is not None:
            return self.fitted.predictor(self.model.encode_items(x))
        return predict(self.model, with_queries(self.context, x))

    @torch.no_grad()
    def unlabeled_logits(self) -> Float[Tensor, "U way"]:
        """Predict the unlabeled nodes of the context.

        Returns:
            Logits `[U, way]`, in the order of the context. If the method has a transductive mode,
            the nodes are predicted together, as the queries of that mode.
        """
        unlabeled = self.context.x[~self.context.labeled]
        if self.fitted is not None:
            if self.fitted.unlabeled_logits is None:
                return self.predict_logits(unlabeled)
            return self.fitted.unlabeled_logits
        return predict_unlabeled(self.model, self.context)


def fit_method(model: GraphMethod, context: Episode) -> FittedMethod:
    """Compute everything that a method's prediction of queries does not depend on.

    Call it inside `eval_mode(model)`; results have no gradient.

    Args:
        model: an inductive method.
        context: one task without queries, see `Episode.context` and `Episode.drop_queries`.

    Returns:
        The method with this context.

    Raises:
        InvalidInputError: the method is transductive, the episode has queries or several tasks,
            or the method cannot process it.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])  # the last item is unlabeled
        >>> context = gf.Episode.context(torch.tensor([[0.0], [4.0], [1.0]]), y, way=2)
        >>> model = gf.create("soft_k_means", encoder=gf.backbones.identity(1))
        >>> gf.evaluation.fit_method(model, context).unlabeled_logits().argmax(1)
        tensor([0])
    """
    _check(model, context)
    if model.fit_context is None:
        if not model.unlabeled:
            context = context.drop_unlabeled()
        model.check(context)
        return FittedMethod(model, context, None)
    with torch.no_grad():
        encoded = model.encode(context)
        fitted = model.fit_context(model.layers, encoded)
    return FittedMethod(model, context, fitted)


def predict_unlabeled(model: GraphMethod, context: Episode) -> Float[Tensor, "U way"]:
    """Predict the unlabeled nodes of a context as queries, together if the method can.

    Args:
        model: a method.
        context: one task without queries.

    Returns:
        Logits `[U, way]`, in the order of the context.
    """
    if not context.n_unlabeled[0]:
        return context.x.new_zeros(0, context.way[0])
    if not model.transductive and model.has_both_modes:
        model = model.in_mode(transductive=True)
    as_queries = Episode(context.x, context.y, ~context.labeled, context.sizes, context.way)
    return predict(model, as_queries)


def with_queries(context: Episode, x: Shaped[Tensor, "Q ..."]) -> Episode:
    """Return the task of a context with queries.

    Args:
        context: one task without queries.
        x: items `[Q, ...]`.

    Returns:
        The nodes of the context, followed by the queries.
    """
    n_context, n_queries = len(context.y), len(x)
    y = torch.cat([context.y, context.y.new_full((n_queries,), UNKNOWN)])
    is_query = torch.arange(len(y), device=y.device) >= n_context
    return Episode.single(torch.cat([context.x, x]), y, is_query, context.way[0])


def _check(model: GraphMethod, context: Episode) -> None:
    if model.transductive:
        raise InvalidInputError(
            "fit_method got a transductive method, whose predictions depend on the other queries; "
            "use model.in_mode(transductive=False), or predict whole episodes"
        )
    if context.n_tasks > 1 or any(context.n_queries):
        raise InvalidInputError(
            f"fit_method got {context.n_tasks} tasks with {sum(context.n_queries)} queries; pass "
            "one task without queries: episode.take([0]).drop_queries()"
        )
