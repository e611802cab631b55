"""Approximate search in cells: exact with all cells, high recall with few, and which search is chosen."""

import functools

import numpy as np
import pytest
import torch

import graphfew as gf
from graphfew.propagation import search_choice
from graphfew.propagation.cell_index import build_cells, cell_cosine_search, cell_search

ALL_CELLS = 10**6


@pytest.fixture(scope="module")
def clusters():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(30, 16, generator=generator) * 2
    member = torch.randint(0, 30, (2000,), generator=generator)
    return centers[member] + torch.randn(2000, 16, generator=generator)


def pairwise_neighbors(x, k):
    """The k nearest other nodes of each node, pair by pair."""
    distance = (x[:, None] - x[None]).square().sum(2).sqrt().fill_diagonal_(torch.inf)
    return distance.sort(1).values[:, :k]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_all_cells_give_exact_neighbors(dtype):
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(1), dtype=dtype)
    index, distance = cell_search(x, 5, n_probes=ALL_CELLS)
    assert distance.dtype == dtype
    assert torch.allclose(distance, pairwise_neighbors(x, 5), atol=1e-3)
    apart = (x[:, None] - x[index]).square().sum(2).sqrt()
    assert torch.allclose(distance, apart, atol=1e-3)


def test_all_cells_give_exact_cosines():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    index, distance = cell_cosine_search(x * torch.rand(60, 1) * 9, 5, n_probes=ALL_CELLS)
    exact_index, exact_distance = gf.propagation.exact_cosine_search(x, 5)
    assert torch.equal(index, exact_index)
    assert torch.allclose(distance, exact_distance)


def test_few_cells_have_high_recall_and_more_cells_a_higher_one(clusters):
    recalls = []
    for n_probes in (1, 12, 48):
        search = functools.partial(cell_search, n_probes=n_probes)
        recalls.append(gf.propagation.knn(clusters, 10, search=search, recall=True).recall)
    assert recalls[0] < recalls[1] <= recalls[2]
    assert recalls[2] > 0.98


def test_search_is_deterministic_for_a_seed(clusters):
    first, second = (cell_search(clusters, 5, n_probes=4, seed=3) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[0], cell_search(clusters, 5, n_probes=4, seed=4)[0])


def test_memory_mapped_float16_is_never_copied(tmp_path, clusters):
    path = tmp_path / "x.npy"
    np.save(path, clusters.half().numpy())
    mapped = torch.from_numpy(np.load(path, mmap_mode="c"))
    index = build_cells(mapped)
    assert index.x is mapped
    assert index.centroids.dtype == torch.float32
    found = gf.propagation.knn(mapped, 5, search=cell_search)
    expected = cell_search(clusters.half().float(), 5)
    assert torch.equal(found.index, expected[0])
    assert torch.allclose(found.distance, expected[1])


@pytest.mark.parametrize("unit_length", [False, True])
def test_exact_search_of_float16_equals_float32(clusters, unit_length, monkeypatch):
    monkeypatch.setattr("graphfew.propagation.exact_neighbors.NODES_PER_BLOCK", 300)
    search = gf.propagation.exact_cosine_search if unit_length else gf.propagation.exact_search
    x = clusters[:700].half()
    index, distance = search(x, 5)
    expected = search(x.float(), 5)[1]
    assert distance.dtype == torch.float32
    assert torch.allclose(distance, expected, atol=1e-3)
    assert not (index == torch.arange(700)[:, None]).any()


def test_duplicates_and_empty_cells():
    x = torch.zeros(200, 3)
    x[:4] = torch.eye(3)[[0, 1, 2, 2]]
    index, distance = cell_search(x, 10)
    assert not (index == torch.arange(200)[:, None]).any()
    assert all(len(set(row.tolist())) == 10 for row in index)
    assert distance[4:].max() == 0
    assert distance[0].tolist() == [1.0] * 10


def test_queries_are_found_in_more_cells_if_few_have_too_few_nodes():
    index = build_cells(torch.arange(20.0)[:, None])
    found, distance = index.search(torch.tensor([[3.2]]), 20, n_probes=1)
    assert sorted(found[0].tolist()) == list(range(20))
    assert distance[0, 0] == pytest.approx(0.2, abs=1e-3)


def test_progress_reaches_the_number_of_nodes(clusters):
    done = []
    cell_search(clusters[:300], 3, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 300


def test_invalid_arguments_raise():
    x = torch.randn(5, 2)
    for search in (cell_search, cell_cosine_search):
        with pytest.raises(ValueError, match="k is 5 and there are 5 nodes"):
            search(x, 5)
        with pytest.raises(ValueError, match="n_probes is 0; search at least 1 cell"):
            search(x, 2, n_probes=0)
    with pytest.raises(ValueError, match="k is 6 and there are 5 nodes"):
        build_cells(x).search(x, 6)
    x[3] = 0
    with pytest.raises(ValueError, match="node 3 has only zeros, and so no cosine"):
        cell_cosine_search(x, 2)
    x[2, 1] = torch.nan
    with pytest.raises(ValueError, match="node 2 has a value that is NaN or infinite"):
        gf.propagation.knn(x, 2)


def test_recall_is_the_share_of_exact_neighbors():
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    exact = torch.tensor([[1, 2], [0, 2], [1, 0], [2, 1]])
    assert gf.propagation.sample_recall(x, exact) == 1
    wrong = exact.clone()
    wrong[0, 1] = 3
    assert gf.propagation.sample_recall(x, wrong) == pytest.approx(7 / 8)
    # Node 2 is as far from node 1 as a tied node would be.
    ties = torch.tensor([[0.0], [1.0], [-1.0], [5.0]])
    assert gf.propagation.sample_recall(ties, torch.tensor([[2], [0], [0], [1]])) == 1


def test_search_is_chosen_by_the_number_of_nodes(monkeypatch, clusters):
    found = gf.propagation.knn(clusters[:50], 3, recall=True)
    assert (found.search, found.recall) == ("exact_search", 1.0)
    monkeypatch.setattr(search_choice, "EXACT_NODES", 49)
    found = gf.propagation.knn(clusters[:50], 3)
    assert (found.search, found.recall) == ("cell_search", None)
    cosine = gf.propagation.knn(
        clusters[:50], 3, search=gf.propagation.auto_cosine_search, recall=True
    )
    assert cosine.search == "cell_cosine_search"
    assert cosine.recall > 0.9
