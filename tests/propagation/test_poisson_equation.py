"""Poisson learning on sparse graphs against pseudoinverses, and its degenerate cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import poisson

import graphfew as gf
from graphfew.propagation import poisson_learning, poisson_scores, sparse_knn_gaussian
from graphfew.propagation.poisson_equation import poisson_probs, solve_poisson
from graphfew.propagation.symmetric_graph import dense_symmetric_graph, sparse_symmetric_graph

CHECKED = settings(deadline=None, derandomize=True, max_examples=30)
TIGHT = {"tolerance": 1e-13}


def features(seed, nodes, width=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(nodes, width, generator=generator, dtype=torch.float64)


def labels(seed, nodes, classes, known):
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(nodes, classes, dtype=torch.float64)
    chosen = torch.randperm(nodes, generator=generator)[:known]
    label[chosen, torch.arange(known) % classes] = 1
    return label


def matrix(topology, weights):
    out = weights.new_zeros(topology.num_nodes, topology.num_nodes)
    out[topology.receivers, topology.senders] = weights[:, 0]
    return out


def graph_of(w):
    receivers, senders = torch.nonzero(w).unbind(1)
    topology = gf.from_edges(senders, receivers, len(w))
    return topology, w[topology.receivers, topology.senders][:, None]


def sparse_random_weights(seed, nodes, density):
    """Symmetric weights of a random graph, which often has several components."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.rand(nodes, nodes, generator=generator, dtype=torch.float64)
    w = w * (torch.rand(nodes, nodes, generator=generator) < density)
    w = torch.triu(w, 1)
    return w + w.T


@CHECKED
@given(st.integers(2, 25), st.integers(0, 999), st.floats(0.02, 0.5), st.integers(2, 4))
def test_scores_equal_pseudoinverses_of_components(nodes, seed, density, classes):
    w = sparse_random_weights(seed, nodes, density)
    label = labels(seed, nodes, classes, min(nodes, 2 * classes))
    expected = poisson.poisson_scores(w.numpy(), label.numpy())
    scale = max(1, np.abs(expected).max())
    sparse = poisson_scores(*graph_of(w), label, **TIGHT)
    assert np.abs(sparse.numpy() - expected).max() < 1e-9 * scale
    dense = solve_poisson(dense_symmetric_graph(w[None]), label)
    assert np.abs(dense.numpy() - expected).max() < 1e-9 * scale


@CHECKED
@given(st.integers(2, 25), st.integers(0, 999), st.floats(0.02, 0.5), st.booleans())
def test_probs_of_sparse_and_dense_graphs_are_equal(nodes, seed, density, with_prior):
    w = sparse_random_weights(seed, nodes, density)
    label = labels(seed, nodes, 3, min(nodes, 5))
    prior = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64) if with_prior else None
    sparse = poisson_learning(*graph_of(w), label, prior, **TIGHT)
    dense = poisson_probs(dense_symmetric_graph(w[None]), label, prior)
    known = dense.any(1)
    assert torch.allclose(sparse[known], dense[known], rtol=0, atol=1e-7)
    assert torch.equal(sparse[~known], torch.full_like(sparse[~known], 1 / 3))
    assert torch.allclose(sparse.sum(1), torch.ones(nodes, dtype=torch.float64))


def test_tasks_of_a_dense_batch_do_not_depend_on_each_other():
    w = torch.stack([sparse_random_weights(seed, 12, 0.3) for seed in range(4)])
    label = torch.cat([labels(seed, 12, 3, 5) for seed in range(4)])
    prior = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    together = poisson_probs(dense_symmetric_graph(w), label, prior).view(4, 12, 3)
    for task in range(4):
        alone = poisson_probs(dense_symmetric_graph(w[[task]]), label.view(4, 12, 3)[task], prior)
        assert torch.allclose(together[task], alone, rtol=0, atol=1e-12)


def two_blocks():
    """Nodes 0 to 3 with classes 0 and 1, nodes 4 to 6 with class 2, nodes 7 and 8, and node 9."""
    w = torch.zeros(10, 10, dtype=torch.float64)
    for i, j in ((0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (4, 6), (7, 8)):
        w[i, j] = w[j, i] = 1
    label = torch.zeros(10, 3, dtype=torch.float64)
    label[0, 0] = label[3, 1] = label[4, 2] = 1
    return w, label


@pytest.mark.parametrize("prior", [None, torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64)])
def test_components_are_solved_separately(prior):
    w, label = two_blocks()
    probs = poisson_learning(*graph_of(w), label, prior)
    assert probs[:4].argmax(1).tolist() == [0, 0, 1, 1]
    assert not probs[:4, 2].any()
    assert torch.equal(probs[4:7], torch.eye(3, dtype=torch.float64)[[2, 2, 2]])
    assert torch.equal(probs[7:], torch.full((3, 3), 1 / 3, dtype=torch.float64))


def test_scores_of_a_path():
    """On 0 - 1 - 2 - 3 with labels at both ends, the scores fall by 1/2 per edge."""
    w, label = two_blocks()
    scores = poisson_scores(*graph_of(w), label, **TIGHT)
    assert scores[:4, 0].tolist() == pytest.approx([0.75, 0.25, -0.25, -0.75])
    assert torch.allclose(scores[:4, 1], -scores[:4, 0])
    assert not scores[4:].any()


def test_no_labels_and_no_edges_give_uniform_probs():
    w, label = two_blocks()
    none = torch.zeros_like(label)
    assert torch.equal(poisson_learning(*graph_of(w), none), torch.full_like(label, 1 / 3))
    probs = poisson_learning(*graph_of(torch.zeros_like(w)), label)
    known = label.any(1)
    assert torch.equal(probs[known], label[known])
    assert torch.equal(probs[~known], torch.full_like(probs[~known], 1 / 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_points_have_finite_probs(dtype):
    clusters = features(1, 4, 5).repeat_interleave(30, 0).to(dtype)
    noise = 1e-3 * features(2, 120, 5).to(dtype)
    label = labels(3, 120, 4, 8).to(dtype)
    for x in (clusters, clusters + noise, torch.zeros_like(clusters)):
        for k in (1, 10, 500):
            probs = poisson_learning(*sparse_knn_gaussian(x, k), label)
            assert probs.dtype == dtype
            assert torch.isfinite(probs).all()
            assert torch.allclose(probs.sum(1), probs.new_ones(120), rtol=0, atol=1e-5)


def test_edges_below_rounding_are_absent():
    w, label = two_blocks()
    w[3, 4] = w[4, 3] = 1e-18
    probs = poisson_learning(*graph_of(w), label)
    assert not probs[:4, 2].any()
    weak = w.clone()
    weak[3, 4] = weak[4, 3] = 1e-8
    assert poisson_learning(*graph_of(weak), label)[:4, 2].all()


def test_probs_do_not_depend_on_the_scale_of_the_weights():
    topology, weights = sparse_knn_gaussian(features(0, 60), 5)
    label = labels(0, 60, 3, 6)
    probs = poisson_learning(topology, weights, label, **TIGHT)
    for scale in (1e-5, 1e5):
        scaled = poisson_learning(topology, scale * weights, label, **TIGHT)
        assert torch.allclose(scaled, probs, rtol=0, atol=1e-8)


def test_prior_sets_the_class_proportions():
    x = features(0, 400, 2)
    label = labels(1, 400, 2, 10)
    prior = torch.tensor([0.8, 0.2], dtype=torch.float64)
    graph = sparse_knn_gaussian(x)
    unlabeled = ~label.any(1)
    without = poisson_learning(*graph, label)[unlabeled]
    probs = poisson_learning(*graph, label, prior)[unlabeled]
    fraction = (probs.argmax(1) == 0).double().mean()
    assert abs(float(fraction) - 0.8) < 1 / 390
    assert abs(float((without.argmax(1) == 0).double().mean()) - 0.8) > 0.05


def test_prediction_is_the_largest_score():
    graph = sparse_knn_gaussian(features(0, 200))
    label = labels(0, 200, 4, 12)
    scores = poisson_scores(*graph, label, **TIGHT)
    assert torch.equal(scores.argmax(1), poisson_learning(*graph, label, **TIGHT).argmax(1))


def test_invalid_graphs_raise():
    topology, weights = sparse_knn_gaussian(features(0, 20), 3)
    label = labels(0, 20, 2, 4)
    for function in (poisson_scores, poisson_learning):
        with pytest.raises(ValueError, match="a row of label for every node"):
            function(topology, weights, label[1:])
        with pytest.raises(ValueError, match="the graph must be symmetric"):
            function(topology, weights * torch.rand_like(weights), label)
        with pytest.raises(ArithmeticError, match="in 1 iterations"):
            function(topology, weights, label, max_iterations=1)


def test_dense_graphs_are_differentiable():
    label = labels(0, 7, 3, 4)

    def probs(x):
        distance = (x[:, None] - x).square().sum(2)
        weights = (-distance).exp() * (1 - torch.eye(7))
        return poisson_probs(dense_symmetric_graph(weights[None]), label, None)

    x = features(0, 7, 2).requires_grad_()
    assert torch.autograd.gradcheck(probs, x, eps=1e-6, atol=1e-5)


def test_operators_of_sparse_and_dense_graphs_are_equal():
    w = sparse_random_weights(5, 15, 0.2)
    topology, weights = graph_of(w)
    sparse, dense = sparse_symmetric_graph(topology, weights), dense_symmetric_graph(w[None])
    x = features(0, 15)
    assert torch.equal(sparse.component, dense.component)
    for a, b in ((sparse.degree, dense.degree), (sparse.matmul(x), dense.matmul(x))):
        assert torch.allclose(a, b)
    assert torch.allclose(sparse.matmul(x), w @ x)
