"""The fitted form of inductive methods: everything that does not depend on the queries of a task.

A method's factory passes a function `fit_context` to `GraphMethod`, from its layers and an encoded
context to a `FittedContext`. The predictor is one of the records of tensors below, or the method's
own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.nn.layers import Layers, Metric, metric_table, squared_euclidean

# From features `[Q, F]` to logits `[Q, way]` or to other features. Predictors are records of tensors
# and plain values, not closures, so that they can be pickled.
Predictor = Callable[[Tensor], Tensor]
FeatureTransform = Callable[[Tensor], Tensor]
# From similarities `[n, Q]` to supports sorted by class, and class counts `[way]`, to `[way, Q]`.
ClassScores = Callable[[Tensor, Tensor], Tensor]
# Bytes of the similarities of a chunk of queries to all supports.
CHUNK_BYTES = 64 * 2**20


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
    return torch.nn.functional.normalize(x, dim=1)


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
        >>> from graphfew.nn.fitted import ClassNodePredictor
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
        return self.supports.reduce(x, _class_maxima)


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
        x: `[n, F]`.
        counts: `[way]` int64, number of supports of each class.
        metric: similarity of row pairs.
        scale: factor on the similarity.
    """

    x: Float[Tensor, "n F"]
    counts: Int[Tensor, " way"]
    metric: Metric
    scale: float = 1.0

    def reduce(self, queries: Tensor, class_scores: ClassScores) -> Float[Tensor, "Q way"]:
        """Reduce the similarities of queries to the supports to one score per class."""
        scores = []
        chunk = max(1, CHUNK_BYTES // (len(self.x) * self.x.element_size()))
        for part in torch.split(queries, chunk):
            # Supports as rows: a segment reduction is fast over rows.
            similarity = self.scale * metric_table(self.metric, self.x, part)
            scores.append(class_scores(similarity, self.counts).T)
        return torch.cat(scores)


def sorted_supports(context: Episode, metric: Metric, scale: float = 1.0) -> SortedSupports:
    """Collect the labeled supports of an encoded context of one task."""
    support = torch.nonzero(context.labeled).flatten()
    order = support[context.y[support].argsort(stable=True)]
    counts = torch.bincount(context.y[support], minlength=context.way[0])
    return SortedSupports(context.x[order], counts, metric, scale)


def _class_maxima(similarity: Tensor, counts: Tensor) -> Tensor:
    return torch.segment_reduce(similarity, "max", lengths=counts)


def _class_attention(similarity: Tensor, counts: Tensor) -> Tensor:
    exponential = (similarity - similarity.amax(0)).exp_()
    votes = torch.segment_reduce(exponential, "sum", lengths=counts)
    probs = votes / votes.sum(0)
    # As in `log_class_votes`: a class without votes has a finite logit.
    return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()
