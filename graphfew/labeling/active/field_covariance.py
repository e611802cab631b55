"""Covariance of a Gaussian field on the graph: VOpt, Σ-optimality and model change."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.labeling.active.labeling_state import Index, LabelingState
from graphfew.labeling.active.uncertainty import smallest_margin

# Added to the eigenvalues of the Laplacian; without it, the constant mode has an infinite variance.
TAU = 1e-3
NOISE_VARIANCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class FieldColumns:
    """The covariance of candidates, for scores.

    Attributes:
        columns: `[r, M]` c_k = C v_k.
        variance: `[M]` q_k = γ² + v_kᵀ C v_k.
        to_sum: `[M]` 1ᵀ V c_k, the covariance with the sum over all items.
        uncertainty: `[M]` of the classifier.
    """

    columns: Float[Tensor, "r M"]
    variance: Float[Tensor, " M"]
    to_sum: Float[Tensor, " M"]
    uncertainty: Float[Tensor, " M"]


# Scores `[M]` of candidates; the largest is suggested.
FieldScore = Callable[[FieldColumns], Tensor]


def variance_reduction(field: FieldColumns) -> Float[Tensor, " M"]:
    """VOpt: ‖c_k‖² / q_k, the reduction of the total variance.

    Args:
        field: covariance of the candidates.

    Returns:
        `[M]`.

    Source:
        Ji, Han, 2012, A Variance Minimization Criterion to Active Learning on Graphs.

    Deviations:
        The covariance has low rank.
    """
    return field.columns.square().sum(0) / field.variance


def sum_variance_reduction(field: FieldColumns) -> Float[Tensor, " M"]:
    """Σ-optimality: (1ᵀ V c_k)² / q_k, the reduction of the variance of the sum.

    Args:
        field: covariance of the candidates.

    Returns:
        `[M]`.

    Source:
        Ma, Garnett, Schneider, 2013, Σ-Optimality for Active Learning on Gaussian Random Fields.

    Deviations:
        The covariance has low rank.
    """
    return field.to_sum.square() / field.variance


def model_change(field: FieldColumns) -> Float[Tensor, " M"]:
    """Model change: uncertainty_k ‖c_k‖ / q_k.

    Args:
        field: covariance of the candidates.

    Returns:
        `[M]`.

    Source:
        Miller, Bertozzi, 2024, Model Change Active Learning in Graph-Based Semi-Supervised
        Learning.

    Deviations:
        The uncertainty is that of the classifier, not of the Gaussian field.
    """
    length = torch.linalg.vector_norm(field.columns, dim=0)
    change: Tensor = field.uncertainty * length / field.variance
    return change


def model_change_variance(field: FieldColumns) -> Float[Tensor, " M"]:
    """MC-VOpt: uncertainty_k ‖c_k‖² / q_k.

    Args:
        field: covariance of the candidates.

    Returns:
        `[M]`.

    Source:
        Miller, Bertozzi, 2024, Model Change Active Learning in Graph-Based Semi-Supervised
        Learning.

    Deviations:
        The uncertainty is that of the classifier, not of the Gaussian field.
    """
    return field.uncertainty * variance_reduction(field)


def informative_items(
    state: LabelingState,
    n: int,
    rng: np.random.Generator,
    *,
    score: FieldScore = variance_reduction,
    uses_classifier: bool = False,
    tau: float = TAU,
) -> Index:
    """Suggest items by a score of the covariance, which is updated after every item of the batch.

    Formula:
        C = diag(1 / (λ + τ)),  λ, V the 50 smallest eigenvalues of I - D^-½ W D^-½ and their
        eigenvectors
        C ← C - c_k c_kᵀ / q_k  after each labeled or suggested item k, with c_k = C v_k and
        q_k = γ² + v_kᵀ c_k

    Args:
        state: items and labels.
        n: number of items.
        rng: unused; there is nothing random.
        score: of the candidates.
        uses_classifier: whether the score depends on the uncertainty of the classifier.
        tau: τ, added to the eigenvalues.

    Returns:
        Item indices, best first.

    Example:
        >>> import numpy as np, torch
        >>> from graphfew.labeling.active import build_item_graph, make_state
        >>> x = torch.cat([torch.arange(19.0), 100 + torch.arange(17.0)])[:, None]
        >>> state = make_state(build_item_graph(x), torch.full((36,), -1))
        >>> items = informative_items(state, 2, np.random.default_rng(0))
        >>> sorted((items >= 19).tolist())  # one of each cluster
        [False, True]

    Source:
        Ji, Han, 2012, A Variance Minimization Criterion to Active Learning on Graphs; the spectral
        covariance is that of Miller, Bertozzi, 2024, Model Change Active Learning in Graph-Based
        Semi-Supervised Learning.

    Deviations:
        τ makes the covariance finite without labels.
    """
    del rng
    vectors = state.graph.spectrum.vectors
    covariance = torch.diag(1 / (state.graph.spectrum.values + tau))
    for item in torch.nonzero(state.class_index >= 0).flatten():
        covariance = condition(covariance, vectors[item])
    candidates = state.candidates
    modes = vectors[candidates]
    uncertainty = torch.ones(len(candidates), dtype=modes.dtype)
    if uses_classifier and state.n_classes > 1:
        uncertainty = smallest_margin(state.probs)[candidates].to(modes.dtype)
    total = vectors.sum(0)
    is_open = torch.ones(len(candidates), dtype=torch.bool)
    picked = []
    for _ in range(n):
        columns = covariance @ modes.T
        variance = NOISE_VARIANCE + (modes.T * columns).sum(0)
        scores = score(FieldColumns(columns, variance, total @ columns, uncertainty))
        best = int(scores.masked_fill(~is_open, -torch.inf).argmax())
        is_open[best] = False
        covariance = condition(covariance, modes[best])
        picked.append(best)
    chosen: Index = candidates[picked].numpy()
    return chosen


def condition(covariance: Float[Tensor, "r r"], mode: Float[Tensor, " r"]) -> Float[Tensor, "r r"]:
    """Compute the covariance after the value of an item is observed with noise.

    Args:
        covariance: C.
        mode: v_k of the item.

    Returns:
        `C - c_k c_kᵀ / q_k`.
    """
    column = covariance @ mode
    return covariance - torch.outer(column, column) / (NOISE_VARIANCE + mode @ column)


sum_informative_items = functools.partial(informative_items, score=sum_variance_reduction)
changing_items = functools.partial(informative_items, score=model_change, uses_classifier=True)
informative_uncertain_items = functools.partial(
    informative_items, score=model_change_variance, uses_classifier=True
)
