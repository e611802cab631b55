"""Nearest neighbors in blocks against a search pair by pair, and the graphs that they make."""

import functools
import importlib.util
import sys
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphfew as gf
from graphfew import propagation
from graphfew.ops.smallest import smallest

CHECKED = settings(deadline=None, derandomize=True, max_examples=40)
SEEDS = st.integers(0, 2**16)


def features(seed, nodes, width=3, *, grid=False):
    """Random features; on a grid of few whole numbers, where many nodes are equal and many distances are."""
    generator = torch.Generator().manual_seed(seed)
    if grid:
        return torch.randint(-1, 2, (nodes, width), generator=generator).double()
    return torch.randn(nodes, width, generator=generator, dtype=torch.float64)


def apart(x):
    return [[float((a - b).norm()) for b in x] for a in x]


def apart_by_cosine(x):
    def cos(a, b):
        length = float(a.norm() * b.norm())
        return float(a @ b) / length if length else 0.0

    return [[1 - cos(a, b) for b in x] for a in x]


SEARCHES = {
    "euclidean": (propagation.exact_search, apart),
    "cosine": (propagation.exact_cosine_search, apart_by_cosine),
}


@CHECKED
@given(
    st.sampled_from(sorted(SEARCHES)),
    st.integers(2, 9),
    SEEDS,
    st.booleans(),
    st.integers(1, 12),
    st.data(),
)
def test_knn_is_exact_for_any_chunk_size(name, nodes, seed, grid, chunk_size, data):
    search, distances = SEARCHES[name]
    k, x = data.draw(st.integers(1, nodes - 1)), features(seed, nodes, grid=grid)
    found = gf.propagation.knn(x, k, search=functools.partial(search, chunk_size=chunk_size))
    d = distances(x)
    for i in range(nodes):
        chosen = found.index[i].tolist()
        assert i not in chosen
        assert len(set(chosen)) == k
        nearest = sorted(d[i][j] for j in range(nodes) if j != i)[:k]
        # Lengths that cancel leave the root of a rounding error between equal nodes.
        assert found.distance[i].tolist() == pytest.approx(nearest, abs=1e-7)
        assert [d[i][j] for j in chosen] == pytest.approx(nearest, abs=1e-7)


def test_topology_connects_neighbors_to_nodes():
    found = gf.propagation.knn(features(0, 7), 3)
    topology = found.topology
    assert topology.receivers.tolist() == [i for i in range(7) for _ in range(3)]
    assert topology.senders.view(7, 3).tolist() == found.index.tolist()
    assert topology.ptr.tolist() == list(range(0, 22, 3))
    assert torch.allclose(
        topology.sum(found.distance.view(-1, 1))[:, 0], found.distance.sum(1), rtol=0, atol=1e-12
    )


def test_duplicates_are_neighbors_of_each_other():
    x = torch.tensor([[1.0, 2.0]] * 4 + [[9.0, 9.0]])
    for search in (propagation.exact_search, propagation.exact_cosine_search):
        found = gf.propagation.knn(x, 3, search=search)
        assert [sorted(row) for row in found.index[:4].tolist()] == [
            [j for j in range(4) if j != i] for i in range(4)
        ]


def test_distances_are_computed_in_chunks(monkeypatch):
    sizes = []

    def watched(table, k):
        sizes.append(table.numel() * table.element_size())
        return smallest(table, k)

    monkeypatch.setattr("graphfew.propagation.exact_neighbors.smallest", watched)
    monkeypatch.setattr("graphfew.propagation.exact_neighbors.CHUNK_BYTES", 10_000)
    x = features(0, 300)
    found = gf.propagation.knn(x, 4)
    assert max(sizes) <= 10_000
    assert sum(sizes) == 300 * 300 * 8
    monkeypatch.undo()
    assert torch.equal(found.index, gf.propagation.knn(x, 4).index)


def test_invalid_k_raises():
    x = features(0, 5)
    for search in (
        propagation.exact_search,
        propagation.exact_cosine_search,
        propagation.approximate_search,
    ):
        for k in (-1, 0, 5, 6):
            for call in (search, functools.partial(gf.propagation.knn, search=search)):
                with pytest.raises(
                    ValueError, match=f"k is {k} and there are 5 nodes, .* from 1 to 4"
                ):
                    call(x, k)
    with pytest.raises(ValueError, match="chunk_size is 0; give at least 1 node"):
        propagation.exact_search(x, 2, chunk_size=0)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            [[1], [0]],
            r"indices \(2, 1\) and distances \(2, 1\); it must return \[N, k\] of both, \(3, 1\)",
        ),
        ([[1], [1], [0]], "neighbors \\[1\\] for node 1"),
        ([[1], [0], [3]], "neighbors \\[3\\] for node 2"),
        ([[-1], [0], [1]], "neighbors \\[-1\\] for node 0"),
    ],
)
def test_invalid_search_results_raise(index, message):
    index = torch.tensor(index)
    with pytest.raises(ValueError, match=message):
        gf.propagation.knn(features(0, 3), 1, search=lambda x, k: (index, index.double()))


@CHECKED
@given(st.integers(2, 8), SEEDS, st.data())
def test_union_and_mutual_graphs_equal_dense_matrices(nodes, seed, data):
    k = data.draw(st.integers(1, nodes - 1))
    near = gf.propagation.knn(features(seed, nodes), k)
    edges = features(seed + 1, nodes * k, 2)
    dense, there = (
        torch.zeros(nodes, nodes, 2, dtype=torch.float64),
        torch.zeros(nodes, nodes, dtype=torch.bool),
    )
    for e, (r, s) in enumerate(
        zip(near.topology.receivers.tolist(), near.topology.senders.tolist(), strict=True)
    ):
        dense[r, s], there[r, s] = edges[e], True

    def ordered(a, b):
        return 3 * a - b

    for build, keep in (
        (propagation.union_graph, there | there.T),
        (propagation.mutual_graph, there & there.T),
    ):
        topology, values = build(near.topology, edges, ordered)
        ends = [tuple(pair) for pair in torch.nonzero(keep).tolist()]
        assert (
            list(zip(topology.receivers.tolist(), topology.senders.tolist(), strict=True)) == ends
        )
        assert topology.num_nodes == nodes
        assert torch.equal(values, (3 * dense - dense.transpose(0, 1))[keep])


@pytest.mark.parametrize("build", [propagation.union_graph, propagation.mutual_graph])
def test_default_combination_is_symmetric(build):
    near = gf.propagation.knn(features(3, 12), 3)
    topology, values = build(near.topology, near.distance.view(-1, 1))
    found = dict(
        zip(
            zip(topology.receivers.tolist(), topology.senders.tolist(), strict=True),
            values[:, 0].tolist(),
            strict=True,
        )
    )
    assert found
    assert all(found[j, i] == value for (i, j), value in found.items())


def test_union_graph_keeps_self_loops_and_gradients():
    topology = gf.from_edges(torch.tensor([0, 1, 0]), torch.tensor([0, 0, 2]), 3)
    edges = torch.tensor([[5.0], [2.0], [3.0]], requires_grad=True)
    both, values = propagation.union_graph(topology, edges)
    assert list(zip(both.senders.tolist(), both.receivers.tolist(), strict=True)) == [
        (0, 0),
        (1, 0),
        (2, 0),
        (0, 1),
        (0, 2),
    ]
    assert values[:, 0].tolist() == [5, 2, 3, 2, 3]
    values.sum().backward()
    assert edges.grad[:, 0].tolist() == [1, 2, 2]
    alone, values = propagation.mutual_graph(topology, edges)
    assert (alone.senders.tolist(), alone.receivers.tolist(), values.tolist()) == (
        [0],
        [0],
        [[5.0]],
    )


def stand_in(monkeypatch, index, distance):
    """pynndescent, answering with these."""
    asked = {}

    def descent(data, **options):
        asked.update(options, data=data)
        return types.SimpleNamespace(neighbor_graph=(index.numpy(), distance.numpy()))

    monkeypatch.setitem(sys.modules, "pynndescent", types.SimpleNamespace(NNDescent=descent))
    return asked


def test_approximate_search_drops_the_node_itself(monkeypatch):
    # Of equal nodes the search may give others first, or others alone.
    index = torch.tensor([[0, 1, 2], [0, 1, 2], [0, 1, 3], [3, 2, 0]], dtype=torch.int32)
    distance = torch.tensor([[0, 0, 1], [0, 0, 1], [0, 0, 4], [0, 5, 6]], dtype=torch.float32)
    asked = stand_in(monkeypatch, index, distance)
    found = gf.propagation.knn(
        features(0, 4),
        2,
        search=functools.partial(propagation.approximate_search, metric="cosine", seed=3),
    )
    assert found.index.tolist() == [[1, 2], [0, 2], [0, 1], [2, 0]]
    assert found.distance.tolist() == [[0, 1], [0, 1], [0, 0], [5, 6]]
    assert found.distance.dtype == torch.float64
    assert (asked["n_neighbors"], asked["metric"], asked["random_state"]) == (3, "cosine", 3)
    assert asked["data"].tolist() == features(0, 4).tolist()


def test_approximate_search_with_too_few_neighbors_raises(monkeypatch):
    stand_in(monkeypatch, torch.tensor([[0, 1], [1, -1], [2, 0]]), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="fewer than 1 neighbors of node 1; use exact_search"):
        propagation.approximate_search(features(0, 3), 1)


def test_missing_pynndescent_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pynndescent"):
        propagation.approximate_search(features(0, 5), 2)


@pytest.mark.skipif(
    importlib.util.find_spec("pynndescent") is None, reason="pynndescent is not installed"
)
@pytest.mark.filterwarnings("ignore")
def test_pynndescent_has_high_recall():
    x = features(0, 400).float()
    x[1] = x[0]
    for exact, metric in (
        (propagation.exact_search, "euclidean"),
        (propagation.exact_cosine_search, "cosine"),
    ):
        ours = gf.propagation.knn(
            x, 5, search=functools.partial(propagation.approximate_search, metric=metric)
        )
        theirs = gf.propagation.knn(x, 5, search=exact)
        assert (ours.index[:, :, None] == theirs.index[:, None]).any(2).double().mean() > 0.95
        assert torch.allclose(ours.distance.mean(0), theirs.distance.mean(0), rtol=0.05, atol=1e-3)
