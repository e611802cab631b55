"""The fitted form of inductive methods: everything that does not depend on the queries of a task.

A method's factory passes a function `fit_context` to `GraphMethod`, from its layers and an encoded
context to a `FittedContext`. The predictor is one of the records of tensors below, or the method's
own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.episode import Episode
from graphfew.nn.layers import Layers, Metric, cosine, metric_table, squared_euclidean

# From features `[Q, F]` to logits `[Q, way]` or to other features. Predictors are records of tensors
# and plain values, not closures, so that they can be pickled.
Predictor = Callable[[Tensor], Tensor]
FeatureTransform = Callable[[Tensor], Tensor]
# From similarities `[n, Q]` to supports sorted by class, and class counts `[way]`, to `[way, Q]`.
ClassScores = Callable[[Tensor, Tensor], Tensor]
# Bytes of the similarities of a chunk of queries to all supports.
CHUNK_BYTES = 16 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class FittedContext:
    """What a method computes from the context of one task.

    Attributes:
        predictor: from the encoded features of queries `[Q, F]` to logits `[Q, way]`, each query
            alone.
        unlabeled_logits: logits `[U, way]` of the unlabeled nodes, in the order of the episode, as
            the transductive mode predicts them as queries; None if the method has no such mode,
            so that they are predicted as other items.
    """

    predictor: Predictor
    unlabeled_logits: Float[Tensor, "U way"] | None = None


# The layers are an argument, because a closure over modules would keep those of the original when a
# model is copied.
FitContext = Callable[[Layers, Episode], FittedContext]


def unit_length(x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q F"]:
    """Scale features to length 1."""
    return F.normalize(x, dim=1)


@dataclasses.dataclass(frozen=True, eq=False)
class TransformedPredictor:
    """Predictor that transforms the features of queries first.

    Attributes:
        transform: from features `[Q, F]` to features.
        predictor: from these features to logits `[Q, way]`.
    """

    transform: FeatureTransform
    predictor: Predictor

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q way"]:
        """Return the logits of the queries."""
        return self.predictor(self.transform(x))


@dataclasses.dataclass(frozen=True, eq=False)
class ClassNodePredictor:
    """Predictor by the similarity to class nodes.

    Formula:
        logit_qk = scale · s(x_q, c_k) + b_k

    Attributes:
        class_nodes: `[way, F]`.
        metric: s.
        scale: factor on the similarity.
        bias: `[way]`; None for 0.

    Example:
        >>> import torch
        >>> from graphfew.nn.predictors import ClassNodePredictor
        >>> predictor = ClassNodePredictor(torch.tensor([[0.0], [1.0]]))
        >>> predictor(torch.tensor([[0.0]]))
        tensor([[ 0., -1.]])
    """

    class_nodes: Float[Tensor, "way F"]
    metric: Metric = squared_euclidean
    scale: float = 1.0
    bias: Float[Tensor, " way"] | None = None

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q way"]:
        """Return the logits of the queries."""
        logits = self.scale * metric_table(self.metric, x, self.class_nodes)
        return logits if self.bias is None else logits + self.bias


@dataclasses.dataclass(frozen=True, eq=False)
class LinearPredictor:
    """Predictor by a linear layer.

    Formula:
        logit_q = W x_q + b

    Attributes:
        weight: W, `[way, F]`.
        bias: b, `[way]`.
    """

    weight: Float[Tensor, "way F"]
    bias: Float[Tensor, " way"]

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q way"]:
        """Return the logits of the queries."""
        return torch.addmm(self.bias, x, self.weight.T)


@dataclasses.dataclass(frozen=True, eq=False)
class NearestSupportPredictor:
    """Predictor by the most similar support of each class.

    Formula:
        logit_qk = scale · max_{y_i = k} s(x_q, x_i)

    Attributes:
        supports: the labeled supports.
    """

    supports: SortedSupports

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q way"]:
        """Return the logits of the queries."""
        return self.supports.reduce(x, _class_maxima) + self.supports.common_similarity(x)


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionPredictor:
    """Predictor by attention to the supports, summed over each class.

    Formula:
        logit_qk = log Σ_{y_i = k} softmax_i(scale · s(x_q, x_i))

    Attributes:
        supports: the labeled supports.
    """

    supports: SortedSupports

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q way"]:
        """Return the logits of the queries."""
        return self.supports.reduce(x, _class_attention)


@dataclasses.dataclass(frozen=True, eq=False)
class SortedSupports:
    """The labeled supports of a task, sorted by class.

    Attributes:
        x: `[n, F]`; of length 1 if the metric is `cosine`.
        squares: `[n, 1]` squared lengths.
        counts: `[way]` int64, number of supports of each class.
        metric: similarity of row pairs.
        scale: factor on the similarity.
    """

    x: Float[Tensor, "n F"]
    squares: Float[Tensor, "n 1"]
    counts: Int[Tensor, " way"]
    metric: Metric
    scale: float

    def reduce(self, queries: Tensor, class_scores: ClassScores) -> Float[Tensor, "Q way"]:
        """Reduce the similarities of queries to the supports to one score per class.

        `class_scores` may ignore what the similarities of a query have in common.
        """
        chunk = max(1, CHUNK_BYTES // (len(self.x) * self.x.element_size()))
        scores = [
            class_scores(self.similarities(part), self.counts).T
            for part in torch.split(queries, chunk)
        ]
        return torch.cat(scores)

    def similarities(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "n Q"]:
        """Return the scaled similarities, supports as rows: segment reductions are fast over rows.

        `squared_euclidean` lacks the squared length of the query, which all its similarities have
        in common, see `common_similarity`.
        """
        if self.metric is squared_euclidean:
            # `s (2 x·q - ‖x‖²)` in one pass over the table.
            scale = self.scale
            return torch.addmm(self.squares, self.x, queries.T, beta=-scale, alpha=2 * scale)
        if self.metric is cosine:
            return self.scale * (self.x @ _cosine_rows(queries).T)
        return self.scale * metric_table(self.metric, self.x, queries)

    def common_similarity(self, queries: Float[Tensor, "Q F"]) -> Float[Tensor, "Q 1"]:
        """Return what `similarities` leaves out."""
        if self.metric is squared_euclidean:
            return -self.scale * _squared_lengths(queries)
        return queries.new_zeros(len(queries), 1)


def sorted_supports(context: Episode, metric: Metric, scale: float = 1.0) -> SortedSupports:
    """Collect the labeled supports of an encoded context of one task."""
    support = torch.nonzero(context.labeled).flatten()
    order = support[context.y[support].argsort(stable=True)]
    counts = torch.bincount(context.y[support], minlength=context.way[0])
    x = context.x[order]
    if metric is cosine:
        x = _cosine_rows(x)
    return SortedSupports(x, _squared_lengths(x), counts, metric, scale)


def _squared_lengths(x: Tensor) -> Tensor:
    out: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True).square()
    return out


def _cosine_rows(x: Tensor) -> Tensor:
    # The bound of `nn.layers.cosine`.
    out: Tensor = x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-8)
    return out


def _class_maxima(similarity: Tensor, counts: Tensor) -> Tensor:
    return torch.segment_reduce(similarity, "max", lengths=counts)


def _class_attention(similarity: Tensor, counts: Tensor) -> Tensor:
    # What the similarities of a query have in common cancels here.
    relative = similarity.sub_(similarity.amax(0))
    # Exponentials below the smallest normal number would be denormal, and many times slower.
    tiny = torch.finfo(relative.dtype).tiny
    exponential = F.threshold(relative, math.log(tiny), -torch.inf, inplace=True).exp_()
    votes = torch.segment_reduce(exponential, "sum", lengths=counts)
    probs = votes / votes.sum(0)
    # As in `log_class_votes`: a class without votes has a finite logit.
    return probs.clamp_min(tiny).log()
