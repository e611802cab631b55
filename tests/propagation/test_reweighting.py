"""Harmonic functions on reweighted graphs against direct solves of every component."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import poisson

import graphfew as gf
from graphfew.propagation import (
    harmonic_function,
    reweight_nonlocal,
    reweight_poisson,
    sparse_knn_gaussian,
)
from graphfew.propagation.reweighting import nonlocal_node_weights, poisson_node_weights
from graphfew.propagation.symmetric_graph import dense_symmetric_graph

CHECKED = settings(deadline=None, derandomize=True, max_examples=30)
TIGHT = {"tolerance": 1e-13}


def random_graph(seed, nodes, density):
    generator = torch.Generator().manual_seed(seed)
    w = torch.rand(nodes, nodes, generator=generator, dtype=torch.float64)
    w = torch.triu(w * (torch.rand(nodes, nodes, generator=generator) < density), 1)
    w = w + w.T
    receivers, senders = torch.nonzero(w).unbind(1)
    return w, gf.from_edges(senders, receivers, nodes), w[receivers, senders][:, None]


def labels(seed, nodes, classes, known):
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(nodes, classes, dtype=torch.float64)
    chosen = torch.randperm(nodes, generator=generator)[:known]
    label[chosen, torch.arange(known) % classes] = 1
    return label


def matrix(topology, weights):
    out = weights.new_zeros(topology.num_nodes, topology.num_nodes)
    out[topology.receivers, topology.senders] = weights[:, 0]
    return out.numpy()


@CHECKED
@given(st.integers(2, 25), st.integers(0, 999), st.floats(0.02, 0.5))
def test_weights_and_harmonic_functions_equal_loops(nodes, seed, density):
    w, topology, weights = random_graph(seed, nodes, density)
    label = labels(seed, nodes, 3, min(nodes, 5))
    expected = poisson.nonlocal_weights(w.numpy(), label.numpy())
    changed = reweight_nonlocal(topology, weights, label)
    assert np.abs(matrix(topology, changed) - expected).max(initial=0) < 1e-10
    expected = poisson.poisson_weights(w.numpy(), label.numpy())
    changed = reweight_poisson(topology, weights, label, **TIGHT)
    scale = max(1, np.abs(expected).max(initial=0))
    assert np.abs(matrix(topology, changed) - expected).max(initial=0) < 1e-8 * scale


@CHECKED
@given(st.integers(3, 25), st.integers(0, 999), st.booleans())
def test_harmonic_functions_of_reweighted_graphs(nodes, seed, is_poisson):
    w, topology, weights = random_graph(seed, nodes, 0.3)
    label = labels(seed, nodes, 3, 3)
    reweight = reweight_poisson if is_poisson else reweight_nonlocal
    reference = poisson.poisson_weights if is_poisson else poisson.nonlocal_weights
    ours = harmonic_function(topology, reweight(topology, weights, label), label, **TIGHT)
    expected = poisson.harmonic(reference(w.numpy(), label.numpy()), label.numpy())
    known = expected.sum(1) > 0
    probs = ours.numpy()[known] / ours.numpy()[known].sum(1, keepdims=True)
    assert np.abs(probs - expected[known]).max(initial=0) < 1e-3
    assert np.abs(ours.numpy()[~known]).max(initial=0) == 0


def test_node_weights_of_dense_graphs():
    graphs = [random_graph(seed, 12, 0.3) for seed in range(3)]
    label = torch.stack([labels(seed, 12, 3, 4) for seed in range(3)])
    dense = dense_symmetric_graph(torch.stack([w for w, *_ in graphs]))
    is_labeled = label.any(2).view(-1, 1)
    factor = nonlocal_node_weights(dense, is_labeled).view(3, 12)
    gamma = poisson_node_weights(dense, is_labeled).view(3, 12)
    for task, (w, topology, weights) in enumerate(graphs):
        known = label[task]
        both = matrix(topology, reweight_nonlocal(topology, weights, known))
        assert np.allclose(both, (w * (factor[task][:, None] + factor[task])).numpy())
        both = matrix(topology, reweight_poisson(topology, weights, known, **TIGHT))
        assert np.allclose(both, (w * gamma[task][:, None] * gamma[task]).numpy(), atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reweight", [reweight_nonlocal, reweight_poisson])
def test_few_labels_no_longer_give_a_nearly_constant_function(reweight, dtype):
    """Two overlapping groups of 300 nodes with one label each."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=generator, dtype=torch.float64)
    x[300:, 0] += 4
    topology, weights = sparse_knn_gaussian(x.to(dtype))
    label = torch.zeros(600, 2, dtype=dtype)
    label[0, 0] = label[305, 1] = 1
    truth = (torch.arange(600) >= 300).long()

    def accuracy(weights):
        function = harmonic_function(topology, weights, label)
        assert function.dtype == dtype
        assert torch.isfinite(function).all()
        return float((function.argmax(1) == truth).double().mean())

    assert accuracy(reweight(topology, weights, label)) > accuracy(weights) + 0.03
    none = reweight(topology, weights, torch.zeros_like(label))
    assert torch.isfinite(none).all()


def test_invalid_graphs_raise():
    _, topology, weights = random_graph(0, 10, 0.5)
    label = labels(0, 10, 2, 4)
    for reweight in (reweight_nonlocal, reweight_poisson):
        with pytest.raises(ValueError, match="a row of label for every node"):
            reweight(topology, weights, label[1:])
        with pytest.raises(ValueError, match="the graph must be symmetric"):
            reweight(topology, weights * torch.rand_like(weights), label)
