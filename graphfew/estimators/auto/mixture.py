"""A mixture of predictions under several class priors, weighted by how well they suit the graph."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.propagation.prior_estimation import match_prior

# Weights of the members' standardized scores, in the order of `MemberScores`.
MEMBER_WEIGHTS = (1.0, 2.0, 1.0)
# Powers of the estimated prior: how far it deviates from even proportions is the hard part.
PRIOR_EXPONENTS = (0.5, 1.0, 1.5, 2.0)
# A bias is estimated from so many probabilities at most (items times classes).
MAX_MATCHED = 4_000_000
# Items whose logits are computed at a time.
ROWS_PER_BLOCK = 16_384
# Added to the proportions of classes, so that their logarithms are finite.
SMALLEST_PROPORTION = 1e-3

# From the classes of the unlabeled items to the share of edges between different classes.
CutShare = Callable[[Tensor], float]


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A prediction by weighted members with class biases.

    Formula:
        p(c) = softmax_c(Σ_m w_m s_mc + b_c),  s_m the standardized scores of member m

    Attributes:
        member_weights: w, `[M]`.
        bias: b, `[C]`.

    Example:
        >>> import torch
        >>> from graphfew.estimators import Candidate
        >>> candidate = Candidate((1.0, 0.0), bias=torch.tensor([0.5, 0.0]))
        >>> candidate.logits(torch.ones(2, 1, 2))
        tensor([[1.5000, 1.0000]])
    """

    member_weights: tuple[float, ...]
    bias: Float[Tensor, " C"]

    def logits(self, scores: Float[Tensor, "M N C"]) -> Float[Tensor, "N C"]:
        """Compute logits from standardized scores."""
        return _weighted_sum(scores, self.member_weights).add_(self.bias)

    def classes(self, scores: Float[Tensor, "M N C"]) -> Int[Tensor, " N"]:
        """Predict classes from standardized scores."""
        blocks = torch.split(scores, ROWS_PER_BLOCK, dim=1)
        return torch.cat([self.logits(block).argmax(1) for block in blocks])


@dataclasses.dataclass(frozen=True, eq=False)
class CandidateMixture:
    """A weighted mean of the probabilities of several candidates.

    Attributes:
        candidates: K candidates.
        weights: `[K]`, with sum 1.
    """

    candidates: tuple[Candidate, ...]
    weights: Float[Tensor, " K"]

    def log_probs(self, scores: Float[Tensor, "M N C"]) -> Float[Tensor, "N C"]:
        """Compute log-probabilities from standardized scores `[M, N, C]`."""
        log_probs = torch.empty_like(scores[0])
        for start in range(0, scores.shape[1], ROWS_PER_BLOCK):
            rows = slice(start, start + ROWS_PER_BLOCK)
            probs = log_probs[rows].zero_()
            for candidate, weight in zip(self.candidates, self.weights, strict=True):
                probs += weight * candidate.logits(scores[:, rows]).softmax(1)
            # An item that every candidate is sure about must keep a finite logit for other classes.
            probs.clamp_min_(torch.finfo(probs.dtype).tiny).log_()
        return log_probs

    def agreement(self, scores: Float[Tensor, "M N C"], classes: Int[Tensor, " N"]) -> float:
        """Return the mean rate at which a candidate predicts the given classes."""
        total = 0.0
        for candidate in self.candidates:
            total += float((candidate.classes(scores) == classes).double().mean())
        return total / len(self.candidates)


def sum_of_members(scores: Float[Tensor, "M N C"]) -> CandidateMixture:
    """Return the weighted sum of the members without class biases, for want of unlabeled items."""
    candidate = Candidate(MEMBER_WEIGHTS, scores.new_zeros(scores.shape[2]))
    return CandidateMixture((candidate,), scores.new_ones(1))


def propose_candidates(
    scores: Float[Tensor, "M U C"], prior: Float[Tensor, " C"]
) -> tuple[Candidate, ...]:
    """List the candidates of a mixture.

    These are each member alone, and the weighted sum of all members with biases that give the
    items one of these class priors: powers of the estimated prior, the proportions that a member
    predicts, and the proportions without biases.

    Args:
        scores: standardized scores of the unlabeled items.
        prior: estimated class prior.

    Returns:
        The candidates, always in the same order.

    Example:
        >>> import torch
        >>> from graphfew.estimators import propose_candidates
        >>> scores = torch.randn(3, 20, 2)
        >>> len(propose_candidates(scores, prior=torch.tensor([0.7, 0.3])))
        11
    """
    n_members, n_items, n_classes = scores.shape
    no_bias = scores.new_zeros(n_classes)
    stride = math.ceil(n_items * n_classes / MAX_MATCHED)
    matched = _weighted_sum(scores[:, ::stride], MEMBER_WEIGHTS)
    priors = [prior.pow(exponent) for exponent in PRIOR_EXPONENTS]
    for member in scores:
        counts = torch.bincount(member.argmax(1), minlength=n_classes)
        priors.append(counts.to(prior) + 0.5)
    biases = [no_bias, *(match_prior(matched, target / target.sum()) for target in priors)]
    candidates = [Candidate(MEMBER_WEIGHTS, bias) for bias in biases]
    total = sum(MEMBER_WEIGHTS)
    for chosen in range(n_members):
        alone = tuple(total if member == chosen else 0.0 for member in range(n_members))
        candidates.append(Candidate(alone, no_bias))
    return tuple(candidates)


def candidate_features(
    candidates: Sequence[Candidate],
    scores: Float[Tensor, "M U C"],
    prior: Float[Tensor, " C"],
    cut_share: CutShare,
) -> Float[Tensor, "K D"]:
    """Compute what the weights of candidates depend on.

    Args:
        candidates: K candidates.
        scores: standardized scores of the unlabeled items.
        prior: estimated class prior.
        cut_share: share of the graph's edges between different classes.

    Returns:
        `[K, D]` float64, with D = M + 3: the share of edges between different predicted classes;
        the rate of agreement with each member; the entropy of the predicted proportions, relative
        to that of even ones; the mean squared deviation of their centered logarithms from those of
        the prior.

    Example:
        >>> import torch
        >>> from graphfew.estimators import candidate_features, propose_candidates
        >>> scores, prior = torch.randn(3, 20, 2), torch.tensor([0.7, 0.3])
        >>> candidates = propose_candidates(scores, prior)
        >>> candidate_features(candidates, scores, prior, cut_share=lambda classes: 0.1).shape
        torch.Size([11, 6])
    """
    predictions = scores.argmax(2)
    rows = []
    for candidate in candidates:
        classes = candidate.classes(scores)
        agreement = (predictions == classes).double().mean(1)
        entropy, deviation = _compare_proportions(classes, prior.double())
        rows.append([cut_share(classes), *agreement.tolist(), entropy, deviation])
    return torch.tensor(rows, dtype=torch.float64)


def _compare_proportions(classes: Tensor, prior: Tensor) -> tuple[float, float]:
    """The relative entropy of predicted proportions, and their deviation from the prior."""
    n_classes = len(prior)
    proportions = torch.bincount(classes, minlength=n_classes).double() / len(classes)
    entropy = torch.special.entr(proportions).sum() / math.log(max(n_classes, 2))
    deviation = _centered_log(proportions) - _centered_log(prior)
    return float(entropy), float(deviation.square().mean())


def fit_mixture(
    scores: Float[Tensor, "M U C"],
    prior: Float[Tensor, " C"],
    cut_share: CutShare,
    weights: Sequence[float],
) -> CandidateMixture:
    """Weight candidates by a softmax of weighted features.

    Formula:
        weight_k ∝ exp(w · f_k),  f_k the `candidate_features` of candidate k

    Args:
        scores: standardized scores of the unlabeled items.
        prior: estimated class prior.
        cut_share: share of the graph's edges between different classes.
        weights: w, M + 3 numbers, fitted on other data sets.

    Returns:
        The mixture.

    Example:
        >>> import torch
        >>> from graphfew.estimators import fit_mixture
        >>> scores, prior = torch.randn(3, 20, 2), torch.tensor([0.7, 0.3])
        >>> mixture = fit_mixture(scores, prior, lambda classes: 0.1, weights=[0.0] * 6)
        >>> mixture.log_probs(scores).shape
        torch.Size([20, 2])
    """
    candidates = propose_candidates(scores, prior)
    features = candidate_features(candidates, scores, prior, cut_share)
    return mix_candidates(candidates, features, weights)


def mix_candidates(
    candidates: tuple[Candidate, ...], features: Float[Tensor, "K D"], weights: Sequence[float]
) -> CandidateMixture:
    """Weight candidates by their features.

    Args:
        candidates: K candidates.
        features: of each candidate.
        weights: `[D]`.

    Returns:
        The mixture.

    Example:
        >>> import torch
        >>> from graphfew.estimators import Candidate, mix_candidates
        >>> candidates = (Candidate((1.0,), torch.zeros(2)), Candidate((2.0,), torch.zeros(2)))
        >>> mix_candidates(candidates, torch.tensor([[0.0], [1.0]]), [0.0]).weights
        tensor([0.5000, 0.5000])
    """
    logits = features @ torch.tensor(weights, dtype=features.dtype)
    return CandidateMixture(candidates, logits.softmax(0))


def cut_share_of(
    topology: Topology, weights: Float[Tensor, "E 1"], labels: Int[Tensor, " N"]
) -> CutShare:
    """Return the share of edge weight between different classes, as a function of the unknown ones.

    Args:
        topology: a graph.
        weights: of its edges.
        labels: class indices, -1 if unlabeled.

    Returns:
        A function of the classes of the unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> from graphfew.estimators import cut_share_of
        >>> chain = gf.from_edges(torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1]), 3)
        >>> cut_share = cut_share_of(chain, torch.ones(4, 1), torch.tensor([0, -1, 1]))
        >>> cut_share(torch.tensor([1]))
        0.5
    """
    unlabeled = torch.nonzero(labels < 0).flatten()
    total = float(weights.sum())

    def cut_share(classes: Tensor) -> float:
        filled = labels.index_copy(0, unlabeled, classes)
        is_cut = filled[topology.senders] != filled[topology.receivers]
        return float(weights[is_cut].sum()) / total if total > 0 else 0.0

    return cut_share


def _weighted_sum(scores: Tensor, weights: Sequence[float]) -> Tensor:
    total = torch.zeros_like(scores[0])
    for member, weight in zip(scores, weights, strict=True):
        if weight:
            total += weight * member
    return total


def _centered_log(proportions: Tensor) -> Tensor:
    logs = (proportions + SMALLEST_PROPORTION).log()
    return logs - logs.mean()
