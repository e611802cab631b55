"""The mixture of candidates of `method="auto"`."""

import math

import numpy as np
import pytest
import torch

from graphfew.core import from_edges
from graphfew.estimators.auto import ensemble as ensemble_module
from graphfew.estimators.auto import mixture as mixture_module
from graphfew.estimators.auto.ensemble import fit_ensemble
from graphfew.estimators.auto.mixture import (
    MEMBER_WEIGHTS,
    PRIOR_EXPONENTS,
    candidate_features,
    cut_share_of,
    fit_mixture,
    propose_candidates,
    sum_of_members,
)
from graphfew.estimators.auto.weights import EnsembleWeights, default_weights

PRIOR = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
WEIGHTS = (-2.0, 1.0, 0.5, 0.25, -1.0, -0.1)


def member_scores(n=40, n_classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, n, n_classes, generator=generator, dtype=torch.float64)


def ring(n):
    """A ring of n nodes, with both directions of each edge."""
    nodes = torch.arange(n)
    senders = torch.cat([nodes, nodes])
    receivers = torch.cat([(nodes + 1) % n, (nodes - 1) % n])
    return from_edges(senders, receivers, n)


def test_mixture_equals_a_loop():
    scores = member_scores()
    labels = torch.full((43,), -1)
    labels[:3] = torch.arange(3)
    topology = ring(43)
    edge_weights = torch.rand(86, 1, generator=torch.Generator().manual_seed(1)).double()
    cut_share = cut_share_of(topology, edge_weights, labels)
    mixture = fit_mixture(scores, PRIOR, cut_share, WEIGHTS)

    n_candidates = 1 + len(PRIOR_EXPONENTS) + 3 + 3
    assert len(mixture.candidates) == n_candidates
    probs = []
    for candidate in mixture.candidates:
        rows = torch.zeros(40, 3, dtype=torch.float64)
        for item in range(40):
            for c in range(3):
                logits = [w * scores[m, item, c] for m, w in enumerate(candidate.member_weights)]
                rows[item, c] = sum(logits) + candidate.bias[c]
        probs.append(rows.softmax(1))
    logits = []
    for p in probs:
        classes = p.argmax(1)
        filled = torch.cat([torch.arange(3), classes])
        cut = 0.0
        for sender, receiver, weight in zip(
            topology.senders, topology.receivers, edge_weights[:, 0], strict=True
        ):
            cut += float(weight) * (filled[sender] != filled[receiver]).item()
        shares = np.bincount(classes, minlength=3) / 40
        entropy = -sum(s * math.log(s) for s in shares if s > 0) / math.log(3)
        log_shares, log_prior = np.log(shares + 1e-3), np.log(PRIOR.numpy() + 1e-3)
        difference = log_shares - log_shares.mean() - log_prior + log_prior.mean()
        agreement = [float((scores[m].argmax(1) == classes).double().mean()) for m in range(3)]
        row = [cut / float(edge_weights.sum()), *agreement, entropy, (difference**2).mean()]
        logits.append(np.dot(row, WEIGHTS))
    weights = np.exp(logits) / np.exp(logits).sum()
    expected = sum(weight * p for weight, p in zip(weights, probs, strict=True))
    torch.testing.assert_close(mixture.log_probs(scores), expected.log())


def test_candidates_have_the_priors_they_are_made_for():
    scores = member_scores(n=400)
    candidates = propose_candidates(scores, PRIOR)
    for exponent, candidate in zip(PRIOR_EXPONENTS, candidates[1:], strict=False):
        target = PRIOR**exponent / (PRIOR**exponent).sum()
        mean = candidate.logits(scores).softmax(1).mean(0)
        torch.testing.assert_close(mean, target, atol=2e-3, rtol=0)
    torch.testing.assert_close(candidates[-2].logits(scores), sum(MEMBER_WEIGHTS) * scores[1])


def test_graph_decides_between_priors():
    # Two groups of 90 and 10 nodes on two rings; the members see a noisy position.
    sizes = (90, 10)
    rings = [ring(size) for size in sizes]
    senders = torch.cat([rings[0].senders, rings[1].senders + 90])
    receivers = torch.cat([rings[0].receivers, rings[1].receivers + 90])
    topology = from_edges(senders, receivers, 100)
    truth = torch.tensor([0] * 90 + [1] * 10)
    labels = torch.full((100,), -1)
    labels[[0, 99]] = torch.tensor([0, 1])
    unlabeled = labels < 0
    position = torch.cat([torch.linspace(-1, 1, 90), torch.linspace(1.1, 1.3, 10)])
    # Without a bias, half of the large group is on the wrong side.
    score = position[unlabeled].double()
    scores = torch.stack([torch.stack([-score, score], 1)] * 3)
    edge_weights = torch.ones(200, 1, dtype=torch.float64)
    cut_share = cut_share_of(topology, edge_weights, labels)
    prior = torch.tensor([0.75, 0.25], dtype=torch.float64)
    without_graph = fit_mixture(scores, prior, cut_share, (0.0,) * 6)
    with_graph = fit_mixture(scores, prior, cut_share, (-1000.0,) + (0.0,) * 5)
    right = truth[unlabeled]
    assert (with_graph.log_probs(scores).argmax(1) == right).double().mean() > 0.97
    assert (without_graph.log_probs(scores).argmax(1) == right).double().mean() < 0.9


def test_features_of_candidates_do_not_depend_on_the_names_of_classes():
    scores = member_scores()
    labels = torch.full((40,), -1)
    edge_weights = torch.ones(80, 1)
    cut_share = cut_share_of(ring(40), edge_weights, labels)
    order = torch.tensor([2, 0, 1])
    plain = candidate_features(propose_candidates(scores, PRIOR), scores, PRIOR, cut_share)
    renamed_scores, renamed_prior = scores[:, :, order], PRIOR[order]
    candidates = propose_candidates(renamed_scores, renamed_prior)
    renamed = candidate_features(candidates, renamed_scores, renamed_prior, cut_share)
    torch.testing.assert_close(plain, renamed)


def test_biases_from_a_part_of_many_items_are_close(monkeypatch):
    scores = member_scores(n=3000)
    exact = propose_candidates(scores, PRIOR)
    monkeypatch.setattr(mixture_module, "MAX_MATCHED", 3000)
    for whole, part in zip(exact, propose_candidates(scores, PRIOR), strict=True):
        torch.testing.assert_close(whole.bias, part.bias, atol=0.25, rtol=0)


def test_chunks_of_gathered_neighbors_change_nothing(monkeypatch):
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.full((60,), -1)
    labels[:4] = torch.tensor([0, 1, 0, 1])
    whole = fit_ensemble(x, labels, 2, default_weights())
    expected = whole.ensemble.logits(x + 0.1)
    monkeypatch.setattr(ensemble_module, "ROWS_PER_CHUNK", 7)
    parts = fit_ensemble(x, labels, 2, default_weights())
    torch.testing.assert_close(parts.ensemble.logits(x + 0.1), expected)
    torch.testing.assert_close(parts.ensemble.threshold, whole.ensemble.threshold)


def test_sure_candidates_have_finite_logits():
    scores = 1e4 * member_scores()
    assert sum_of_members(scores).log_probs(scores).isfinite().all()


def test_all_items_labeled():
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    fit = fit_ensemble(x, torch.arange(10) % 2, 2, default_weights())
    assert fit.logits.isfinite().all()
    assert fit.ensemble.logits(x + 0.1).isfinite().all()


@pytest.mark.parametrize("name", ["prior", "mixture", "accuracy"])
def test_shipped_weights_are_finite(name):
    values = getattr(default_weights(), name)
    assert np.isfinite(values).all()
    assert len(values) == {"prior": 11, "mixture": 6, "accuracy": 18}[name]
    assert isinstance(default_weights(), EnsembleWeights)
