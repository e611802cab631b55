"""Poisson learning and related methods against the published library, on the same weights."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from graphfew.propagation import (
    harmonic_function,
    poisson_learning,
    poisson_scores,
    reweight_nonlocal,
    reweight_poisson,
    sparse_knn_gaussian,
    threshold_dynamics,
)

graphlearning = pytest.importorskip("graphlearning")
scipy_sparse = pytest.importorskip("scipy.sparse")


@pytest.fixture(scope="module")
def digits_graph():
    """The kNN graph of the digits and their labels; a dense one, since theirs must be connected."""
    data = load_digits()
    x, y = torch.tensor(data.data), torch.tensor(data.target)
    topology, weights = sparse_knn_gaussian(x - x.mean(0), 25)
    links = (topology.receivers.numpy(), topology.senders.numpy())
    matrix = scipy_sparse.csr_matrix((weights[:, 0].numpy(), links), shape=(len(y), len(y)))
    return topology, weights, matrix, y


def draw_labels(y, shots, seed):
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(y.numpy() == c))[:shots] for c in range(10)]
    nodes = np.concatenate(chosen)
    label = torch.zeros(len(y), 10, dtype=torch.float64)
    label[nodes, y[nodes]] = 1
    return nodes, label


def agreement(one, other):
    return float((np.asarray(one) == np.asarray(other)).mean())


def test_weights_equal_theirs():
    x = load_digits().data[:300]
    # Without noise, integer features have tied neighbors, of which either may be used.
    x = x - x.mean(0) + np.random.default_rng(0).normal(0, 0.01, x.shape)
    topology, weights = sparse_knn_gaussian(torch.tensor(x), 10)
    square = ((x[:, None] - x) ** 2).sum(2)
    index = square.argsort(1, kind="stable")[:, :11]
    search = (index, np.sqrt(np.take_along_axis(square, index, 1)))
    theirs = graphlearning.weightmatrix.knn(x, 10, knn_data=search).toarray()
    ours = np.zeros_like(theirs)
    ours[topology.receivers.numpy(), topology.senders.numpy()] = weights[:, 0].numpy()
    assert np.abs(ours - theirs).max() < 1e-9


@pytest.mark.parametrize("shots", [1, 5])
def test_poisson_predictions_equal_theirs(digits_graph, shots):
    topology, weights, matrix, y = digits_graph
    for seed in range(3):
        nodes, label = draw_labels(y, shots, seed)
        model = graphlearning.ssl.poisson(matrix, tol=1e-10)
        theirs = model.fit(nodes, y[nodes].numpy())
        ours = poisson_scores(topology, weights, label, tolerance=1e-10)
        assert np.abs(ours.numpy() - (theirs - theirs.mean(1, keepdims=True))).max() < 1e-5
        probs = poisson_learning(topology, weights, label, tolerance=1e-10)
        assert agreement(probs.argmax(1), model.predict()) == 1


def test_poisson_with_a_prior_agrees_with_theirs(digits_graph):
    topology, weights, matrix, y = digits_graph
    prior = np.bincount(y) / len(y)
    for seed in range(3):
        nodes, label = draw_labels(y, 1, seed)
        model = graphlearning.ssl.poisson(matrix, class_priors=prior, tol=1e-10)
        model.fit(nodes, y[nodes].numpy())
        ours = poisson_learning(topology, weights, label, torch.tensor(prior))
        assert agreement(ours.argmax(1), model.predict()) > 0.99


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("reweighting", ["wnll", "poisson"])
def test_reweighted_laplace_learning_agrees_with_theirs(digits_graph, reweighting, shots):
    """Ours is damped by 1e-6, so that predictions of undecided nodes can differ."""
    topology, weights, matrix, y = digits_graph
    reweight = {"wnll": reweight_nonlocal, "poisson": reweight_poisson}[reweighting]
    for seed in range(3):
        nodes, label = draw_labels(y, shots, seed)
        model = graphlearning.ssl.laplace(matrix, reweighting=reweighting, tol=1e-10)
        model.fit(nodes, y[nodes].numpy())
        ours = harmonic_function(topology, reweight(topology, weights, label), label)
        assert agreement(ours.argmax(1), model.predict()) > 0.995


def test_poisson_mbo_agrees_with_theirs(digits_graph):
    """Theirs starts without the prior; given the same start, the predictions agree."""
    topology, weights, matrix, y = digits_graph
    prior = np.bincount(y) / len(y)
    for seed in range(3):
        nodes, label = draw_labels(y, 1, seed)
        model = graphlearning.ssl.poisson_mbo(matrix, prior)
        model.poisson_model = graphlearning.ssl.poisson(matrix, class_priors=prior, tol=1e-10)
        model.fit(nodes, y[nodes].numpy())
        ours = threshold_dynamics(topology, weights, label, torch.tensor(prior))
        assert agreement(ours.argmax(1), model.predict()) > 0.98
