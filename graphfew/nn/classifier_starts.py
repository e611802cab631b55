"""Initial linear classifiers of a task, from which gradient descent starts.

A start is built by `start(dim, way)` for features of width `dim`. The result is a module
`Supports -> LinearWeights`. Its attribute `uses_features` is True if it depends on the features
of the supports. `way` is the number of classes of every task, or None if tasks may differ; only
`own_rows` needs it.

Adding one vector to all rows of a classifier changes no softmax, so a learned row that all classes
share has the predictions and gradients of `zero_rows`; it is not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F

from graphfew.core.dense_batch import weighted_class_means
from graphfew.core.supports import Supports
from graphfew.errors import InvalidInputError
from graphfew.nn.linear_classifier import LinearWeights
from graphfew.nn.ridge_regression import mean_squared_length


@runtime_checkable
class ClassifierStart(Protocol):
    """Initial classifiers of tasks; a module.

    Attributes:
        uses_features: whether the classifiers depend on the features of the supports.
    """

    uses_features: bool

    def __call__(self, supports: Supports, /) -> LinearWeights:
        """Return the classifiers of the tasks."""


StartFactory = Callable[[int, int | None], ClassifierStart]


class OwnRows(nn.Module):
    """A learned weight vector and bias for each class index."""

    uses_features = False

    def __init__(self, dim: int, way: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(way, dim) / dim**0.5)
        self.bias = nn.Parameter(torch.zeros(way))

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the same classifier for every task."""
        n_tasks = len(supports.x)
        weight = self.weight.expand(n_tasks, -1, -1)
        return LinearWeights(weight, self.bias.expand(n_tasks, -1))


class ZeroRows(nn.Module):
    """Zeros."""

    uses_features = False

    def forward(self, supports: Supports) -> LinearWeights:
        """Return zeros."""
        n_tasks, _, way = supports.one_hot.shape
        dim = supports.x.shape[2]
        weight = supports.x.new_zeros(n_tasks, way, dim)
        return LinearWeights(weight, supports.x.new_zeros(n_tasks, way))


class PrototypeRows(nn.Module):
    """The classifier with the predictions of nearest class means."""

    uses_features = True

    def forward(self, supports: Supports) -> LinearWeights:
        """Return twice the class means, and minus their squared lengths as biases."""
        means = weighted_class_means(supports.one_hot, supports.x)
        return LinearWeights(2 * means, -means.square().sum(2))


class ImprintedRows(nn.Module):
    """The cosine classifier of the normalized supports' means, with a learned scale."""

    uses_features = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the scaled unit means, divided by the typical length of the supports."""
        unit = F.normalize(supports.x, dim=2)
        means = F.normalize(weighted_class_means(supports.one_hot, unit), dim=2)
        length = mean_squared_length(supports).sqrt()
        # Supports can all be zero.
        length = length.clamp_min(torch.finfo(length.dtype).tiny ** 0.5)
        weight = self.scale * means / length[:, None, None]
        return LinearWeights(weight, weight.new_zeros(weight.shape[:2]))


def own_rows(dim: int, way: int | None = None) -> OwnRows:
    """Start from a learned weight vector and bias for each class index.

    Predictions depend on the order of the classes; train with classes in random order.

    Args:
        dim: width of the features.
        way: number of classes of every task.

    Returns:
        The module.

    Raises:
        InvalidInputError: `way` is None or below 2.

    Example:
        >>> from graphfew.nn.classifier_starts import own_rows
        >>> own_rows(3, way=5).weight.shape
        torch.Size([5, 3])

    Source:
        Finn, Abbeel, Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep
        Networks.

    Deviations:
        none.
    """
    if way is None:
        raise InvalidInputError("own_rows has a weight vector for each class; pass way=")
    if way < 2:
        raise InvalidInputError(f"way must be at least 2, got {way}")
    return OwnRows(dim, way)


def zero_rows(dim: int, way: int | None = None) -> ZeroRows:
    """Start from zeros.

    The number and the order of classes do not matter.

    Args:
        dim: ignored.
        way: ignored.

    Returns:
        The module.

    Example:
        >>> from graphfew.nn.classifier_starts import zero_rows
        >>> list(zero_rows(3).parameters())
        []

    Source:
        Kao, Chiu, Chen, 2022, MAML is a Noisy Contrastive Learner in Classification.

    Deviations:
        none.
    """
    del dim, way
    return ZeroRows()


def prototype_rows(dim: int, way: int | None = None) -> PrototypeRows:
    """Start from the classifier with the predictions of nearest class means.

    The number and the order of classes do not matter.

    Formula:
        w_k = 2 c_k,  b_k = -‖c_k‖²,  c_k the mean of the supports of class k

    Args:
        dim: ignored.
        way: ignored.

    Returns:
        The module.

    Example:
        >>> from graphfew.nn.classifier_starts import prototype_rows
        >>> prototype_rows(3).uses_features
        True

    Source:
        Triantafillou et al., 2020, Meta-Dataset: A Dataset of Datasets for Learning to Learn from
        Few Examples.

    Deviations:
        none.
    """
    del dim, way
    return PrototypeRows()


def imprinted_rows(dim: int, way: int | None = None) -> ImprintedRows:
    """Start from the normalized mean embeddings of the classes.

    The number and the order of classes do not matter.

    Formula:
        w_k = α m_k / (ℓ ‖m_k‖),  b_k = 0,  m_k = mean_{y_i = k} x_i / ‖x_i‖
        ℓ = √(mean_i ‖x_i‖²),  α learned, 10 at the start

    Args:
        dim: ignored.
        way: ignored.

    Returns:
        The module.

    Example:
        >>> from graphfew.nn.classifier_starts import imprinted_rows
        >>> imprinted_rows(3).scale.item()
        10.0

    Source:
        Qi, Brown, Lowe, 2018, Low-Shot Learning with Imprinted Weights.

    Deviations:
        The features keep their length, so the scale is relative to their typical length ℓ: for
        features of equal length, these are the logits of the paper's cosine classifier.
    """
    del dim, way
    return ImprintedRows()


# The names by which specs and configurations store a start.
CLASSIFIER_STARTS: Mapping[str, StartFactory] = MappingProxyType(
    {start.__name__: start for start in (zero_rows, prototype_rows, imprinted_rows, own_rows)}
)
