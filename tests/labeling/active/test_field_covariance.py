"""VOpt, Σ-optimality and model change against loops over the covariance of all pairs of items."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from graphfew.labeling.active import field_covariance, graph_spectrum, item_graph
from graphfew.labeling.active.field_covariance import informative_items
from graphfew.labeling.active.item_graph import build_item_graph
from graphfew.labeling.active.labeling_state import make_state

GAMMA, TAU = 0.1, 1e-3
SCORES = {
    "vopt": (field_covariance.variance_reduction, False),
    "sigma": (field_covariance.sum_variance_reduction, False),
    "model_change": (field_covariance.model_change, True),
    "mc_vopt": (field_covariance.model_change_variance, True),
}


def random_state(seed, n_items=30, n_labels=3):
    rng = np.random.default_rng(seed)
    probs = torch.from_numpy(rng.dirichlet([0.5] * 3, n_items))
    x = torch.from_numpy(rng.normal(size=(n_items, 3)))
    labels = torch.full((n_items,), -1)
    labels[:n_labels] = torch.arange(n_labels) % 3
    return make_state(build_item_graph(x), labels, predict=lambda *_: probs)


def prior_covariance(graph, rank):
    """(L + τI)⁻¹ on the space of the `rank` smallest eigenvectors, from the edges."""
    n = graph.n_items
    weights = np.zeros((n, n))
    edges = zip(graph.topology.receivers, graph.topology.senders, graph.weights[:, 0], strict=True)
    for receiver, sender, weight in edges:
        weights[receiver, sender] = weight
    laplacian = np.eye(n)
    for i in range(n):
        for j in range(n):
            degrees = sum(weights[i]) * sum(weights[j])
            laplacian[i, j] -= weights[i, j] / math.sqrt(degrees)
    values, vectors = np.linalg.eigh(laplacian)
    covariance = np.zeros((n, n))
    for value, vector in list(zip(values, vectors.T, strict=True))[:rank]:
        covariance += np.outer(vector, vector) / (value + TAU)
    return covariance


def observe(covariance, k):
    """The covariance after item k is observed with noise, pair by pair."""
    n = len(covariance)
    after = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            after[i, j] = covariance[i, j] - covariance[i, k] * covariance[j, k] / (
                covariance[k, k] + GAMMA**2
            )
    return after


def reference(state, n, name, rank):
    covariance = prior_covariance(state.graph, rank)
    for k in range(state.graph.n_items):
        if state.class_index[k] >= 0:
            covariance = observe(covariance, k)
    chosen = []
    for _ in range(n):
        scores = {}
        for k in set(state.candidates.tolist()) - set(chosen):
            column = covariance[:, k]
            noisy = covariance[k, k] + GAMMA**2
            # Without labels nothing is known of the classes.
            best, second = 0.0, 0.0
            if state.n_classes > 1:
                best, second = sorted(state.probs[k].tolist(), reverse=True)[:2]
            uncertainty = 1 - (best - second)
            scores[k] = {
                "vopt": sum(value**2 for value in column) / noisy,
                "sigma": sum(column) ** 2 / noisy,
                "model_change": uncertainty * math.sqrt(sum(v**2 for v in column)) / noisy,
                "mc_vopt": uncertainty * sum(value**2 for value in column) / noisy,
            }[name]
        chosen.append(max(scores, key=scores.get))
        covariance = observe(covariance, chosen[-1])
    return chosen


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("n_labels", [0, 3])
@pytest.mark.parametrize("rank", [8, 30])
def test_informative_items_match_a_reference(monkeypatch, name, n_labels, rank):
    monkeypatch.setattr(item_graph, "RANK", rank)
    score, uses_classifier = SCORES[name]
    for seed in range(2):
        state = random_state(seed, n_labels=n_labels)
        rng = np.random.default_rng(0)
        chosen = informative_items(
            state, 5, rng, score=score, uses_classifier=uses_classifier, tau=TAU
        )
        assert chosen.tolist() == reference(state, 5, name, rank)


def test_large_graphs_have_the_eigenvalues_of_the_dense_solver(monkeypatch):
    graph = random_state(0, n_items=200).graph
    dense = graph_spectrum.smallest_eigenvectors(graph.topology, graph.weights, 6)
    monkeypatch.setattr(graph_spectrum, "DENSE_ITEMS", 0)
    sparse = graph_spectrum.smallest_eigenvectors(graph.topology, graph.weights, 6)
    torch.testing.assert_close(sparse.values, dense.values, atol=1e-3, rtol=0)
    overlap = dense.vectors.T @ sparse.vectors
    torch.testing.assert_close(overlap.abs(), torch.eye(6).double(), atol=0.05, rtol=0)


def test_sign_of_eigenvectors_does_not_matter():
    state = random_state(1)
    score = field_covariance.sum_variance_reduction
    expected = informative_items(state, 5, np.random.default_rng(0), score=score)
    spectrum = state.graph.spectrum
    signs = 1 - 2 * (torch.arange(len(spectrum.values)) % 2)
    flipped = graph_spectrum.GraphSpectrum(spectrum.values, spectrum.vectors * signs)
    graph = dataclasses.replace(state.graph)
    graph.__dict__["spectrum"] = flipped
    state = dataclasses.replace(state, graph=graph)
    chosen = informative_items(state, 5, np.random.default_rng(0), score=score)
    assert chosen.tolist() == expected.tolist()
