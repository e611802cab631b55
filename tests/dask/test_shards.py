"""Neighbors, graphs and solvers in shards equal those of one process."""

import numpy as np
import pytest
import torch

from graphfew import propagation as single
from graphfew.dask import (
    CosineIndex,
    ExactIndex,
    cosine_power_shards,
    dask_client,
    harmonic_shards,
    knn_gaussian_shards,
    knn_shards,
    one_hot_labels,
    poisson_shards,
    propagate_shards,
    self_tuning_shards,
    shard_features,
    spread_shards,
)
from graphfew.dask.neighbor_shards import cell_index, cosine_cell_index
from graphfew.errors import InvalidInputError, NumericalError

dask_array = pytest.importorskip("dask.array", reason="needs dask")
pytest.importorskip("distributed", reason="needs distributed")

N_ITEMS, N_CLASSES = 150, 4
GRAPHS = {
    "gaussian": (knn_gaussian_shards, single.sparse_knn_gaussian),
    "cosine": (cosine_power_shards, single.sparse_cosine_power),
    "self-tuning": (self_tuning_shards, single.sparse_self_tuning),
}


@pytest.fixture(scope="module")
def client():
    with dask_client(n_workers=2, processes=False) as client:
        yield client


@pytest.fixture(scope="module")
def x():
    generator = torch.Generator().manual_seed(0)
    centers = 4 * torch.randn(N_CLASSES + 1, 6, generator=generator)
    noise = torch.randn(N_ITEMS, 6, generator=generator)
    # Far from all others: a component of the graph without labels.
    centers[N_CLASSES] += 40
    return noise + centers[torch.arange(N_ITEMS) % (N_CLASSES + 1)]


@pytest.fixture(scope="module")
def shards(client, x):
    # Unequal blocks, one of them with fewer items than neighbors are searched.
    return shard_features(client, dask_array.from_array(x.numpy(), chunks=((70, 5, 75), -1)))


@pytest.fixture(scope="module")
def labels():
    rows = np.array([131, 7, 3, 90, 51, 2, 71])
    return rows, rows % (N_CLASSES + 1) % N_CLASSES


def dense(topology, weights):
    out = torch.zeros(topology.num_nodes, topology.num_nodes)
    out[topology.receivers, topology.senders] = weights[:, 0]
    return out


def joined(client, blocks):
    return torch.from_numpy(np.concatenate(client.gather(list(blocks))))


def one_hot(labels, class_balanced=False):
    rows, index = labels
    out = torch.zeros(N_ITEMS, N_CLASSES)
    out[rows, index] = 1
    return out / out.sum(0) if class_balanced else out


@pytest.mark.parametrize(
    ("build_index", "search"),
    [(ExactIndex, single.exact_search), (CosineIndex, single.exact_cosine_search)],
)
def test_neighbors_equal_those_of_one_process(client, x, shards, build_index, search):
    found = client.gather(list(knn_shards(client, shards, 8, build_index=build_index)))
    index, distance = search(x, 8)
    assert np.array_equal(np.concatenate([part[0] for part in found]), index.numpy())
    actual = np.concatenate([part[1] for part in found])
    assert np.allclose(actual, distance.numpy(), atol=1e-3)


def test_duplicates_are_no_neighbors_of_themselves(client):
    ones = dask_array.ones((20, 3), chunks=(7, -1), dtype="float32")
    found = client.gather(list(knn_shards(client, shard_features(client, ones), 3)))
    index = np.concatenate([part[0] for part in found])
    assert (index != np.arange(20)[:, None]).all()
    assert all(len(set(row)) == 3 for row in index.tolist())


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_equals_that_of_one_process(client, x, shards, name):
    build, reference = GRAPHS[name]
    rows = client.gather(list(build(client, shards).blocks))
    actual = torch.cat(
        [torch.from_numpy(block.matmul(np.eye(N_ITEMS, dtype="f4"))) for block in rows]
    )
    assert torch.allclose(actual, dense(*reference(x)), atol=1e-4)
    assert torch.allclose(actual, actual.T, atol=1e-6)


def test_label_spreading_equals_that_of_one_process(client, x, shards, labels):
    graph = cosine_power_shards(client, shards)
    given = one_hot_labels(*labels, N_CLASSES, class_balanced=True)
    actual = joined(client, spread_shards(client, graph, given))
    expected = single.spread_labels(*single.sparse_cosine_power(x), one_hot(labels, True))
    assert torch.allclose(actual, expected, atol=1e-5)


def test_harmonic_function_equals_that_of_one_process(client, x, shards, labels):
    graph = self_tuning_shards(client, shards)
    actual = joined(client, harmonic_shards(client, graph, one_hot_labels(*labels, N_CLASSES)))
    expected = single.harmonic_function(*single.sparse_self_tuning(x), one_hot(labels))
    assert torch.allclose(actual, expected, atol=1e-4)


def test_poisson_learning_equals_that_of_one_process(client, x, shards, labels):
    graph = knn_gaussian_shards(client, shards)
    actual = joined(client, poisson_shards(client, graph, one_hot_labels(*labels, N_CLASSES)))
    expected = single.poisson_learning(*single.sparse_knn_gaussian(x), one_hot(labels))
    assert torch.allclose(actual, expected, atol=1e-3)
    assert bool((expected == 1 / N_CLASSES).all(1).any())


def test_columns_are_solved_in_parts(client, shards, labels, monkeypatch):
    graph = cosine_power_shards(client, shards)
    given = one_hot_labels(*labels, N_CLASSES)
    whole = joined(client, spread_shards(client, graph, given))
    monkeypatch.setattr("graphfew.dask.shard_solvers.COLUMNS_PER_SOLVE", 3)
    parts = joined(client, spread_shards(client, graph, given))
    assert torch.allclose(whole, parts, atol=1e-6)


def test_probabilities_of_all_methods_sum_to_one(client, shards, labels):
    for method in ("poisson", "label_propagation", "label_spreading"):
        probs = joined(client, propagate_shards(client, shards, *labels, N_CLASSES, method=method))
        assert torch.allclose(probs.sum(1), torch.ones(N_ITEMS), atol=1e-5)
        rows, index = labels
        assert probs[rows].argmax(1).tolist() == index.tolist()


def test_cells_of_shards_find_nearly_all_neighbors(client, x, shards):
    found = client.gather(list(knn_shards(client, shards, 8, build_index=cell_index)))
    index = torch.from_numpy(np.concatenate([part[0] for part in found]))
    assert single.sample_recall(x, index) > 0.9
    cosine = client.gather(knn_shards(client, shards, 8, build_index=cosine_cell_index)[1])
    row = x[70 + torch.arange(5)]
    expected = 1 - torch.cosine_similarity(row, x[cosine[0][:, 0]])
    assert np.allclose(cosine[1][:, 0], expected, atol=1e-4)


def test_wrong_arguments_are_rejected(client, shards, labels):
    with pytest.raises(InvalidInputError, match="k is 150 and there are 150 items"):
        knn_shards(client, shards, N_ITEMS)
    with pytest.raises(InvalidInputError, match="methods on shards are poisson"):
        propagate_shards(client, shards, *labels, N_CLASSES, method="egnn")
    with pytest.raises(InvalidInputError, match="each item one label"):
        one_hot_labels(np.array([1, 1]), np.array([0, 1]), 2)
    graph = cosine_power_shards(client, shards)
    given = one_hot_labels(*labels, N_CLASSES)
    with pytest.raises(InvalidInputError, match="alpha is 1"):
        spread_shards(client, graph, given, 1.0)
    with pytest.raises(NumericalError, match="in 2 iterations"):
        spread_shards(client, graph, given, 0.99, max_iterations=2)
    with pytest.raises(InvalidInputError, match="give a Dask array"):
        shard_features(client, dask_array.ones(4))
