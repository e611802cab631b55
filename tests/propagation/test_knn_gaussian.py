"""The kNN graph of Poisson learning against loops, dense against sparse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import poisson

from graphfew.core.dense_batch import DenseBatch
from graphfew.propagation import knn_gaussian, sparse_knn_gaussian
from graphfew.propagation.affinity_graphs import knn_gaussian_graph, knn_gaussian_rows

CHECKED = settings(deadline=None, derandomize=True, max_examples=30)


def features(seed, nodes, width=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(nodes, width, generator=generator, dtype=dtype)


def tasks(x, receive_only=None):
    n_tasks, nodes, _ = x.shape
    query = torch.zeros(n_tasks, nodes, dtype=torch.bool)
    return DenseBatch(x, x.new_zeros(n_tasks, nodes, 2), query, receive_only=receive_only)


def dense_matrix(topology, weights):
    out = weights.new_zeros(topology.num_nodes, topology.num_nodes)
    out[topology.receivers, topology.senders] = weights[:, 0]
    return out


@CHECKED
@given(st.integers(2, 20), st.integers(0, 999), st.integers(1, 25))
def test_dense_and_sparse_equal_loops(nodes, seed, k):
    x = features(seed, nodes)
    expected = poisson.knn_gaussian(x.numpy(), k)
    dense = knn_gaussian(tasks(x[None]), k)[0]
    assert np.abs(dense.numpy() - expected).max() < 1e-10
    sparse = dense_matrix(*sparse_knn_gaussian(x, k))
    assert np.abs(sparse.numpy() - expected).max() < 1e-10
    assert torch.equal(sparse, sparse.mT)
    assert torch.equal(dense, dense.mT)


def test_queries_that_only_receive():
    x = features(3, 15)
    receive_only = torch.arange(15) >= 11
    dense = knn_gaussian(tasks(x[None], receive_only[None]), 4)[0]
    assert not dense[:, receive_only].any()
    assert torch.allclose(dense[:11, :11], knn_gaussian(tasks(x[None, :11]), 4)[0])
    rows = dense[11:, :11]
    index, weights = knn_gaussian_graph(x[:11], 4).rows.neighbors(x[11:])
    found = torch.zeros(4, 11, dtype=torch.float64).scatter(1, index, weights)
    assert torch.allclose(found, rows, rtol=0, atol=1e-12)
    means = knn_gaussian_rows(x[:11], 4).average(x[11:], torch.eye(11, dtype=torch.float64))
    assert torch.allclose(means, rows / rows.sum(1, keepdim=True), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicates_have_weight_one(dtype):
    """Six copies of each of five points: with k = 3, all neighbors are copies."""
    x = features(0, 5, 8, dtype).repeat(6, 1)
    expected = (torch.arange(30) % 5 == torch.arange(30)[:, None] % 5) & ~torch.eye(30).bool()
    assert torch.equal(knn_gaussian(tasks(x[None]), 3)[0], expected.to(dtype))
    _, weights = sparse_knn_gaussian(x, 3)
    # A sparse graph has only k of the tied neighbors, so some have one direction.
    assert set(weights.flatten().tolist()) <= {0.5, 1.0}
    _, to_queries = knn_gaussian_graph(x, 3).rows.neighbors(x[:2])
    assert torch.equal(to_queries, torch.full((2, 3), 0.5, dtype=dtype))


def test_points_that_are_all_equal_are_connected():
    for x in (torch.zeros(4, 2), torch.ones(4, 2)):
        assert torch.equal(knn_gaussian(tasks(x[None]))[0], 1 - torch.eye(4))
        assert torch.equal(dense_matrix(*sparse_knn_gaussian(x)), 1 - torch.eye(4))


def test_k_must_be_positive():
    x = features(0, 6)
    with pytest.raises(ValueError, match="k is 0"):
        knn_gaussian(tasks(x[None]), 0)
    with pytest.raises(ValueError, match="k is 0"):
        sparse_knn_gaussian(x, 0)
