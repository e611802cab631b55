"""Solves on sparse graphs against the same on dense matrices, and against torch's solver."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphfew as gf
from graphfew import propagation
from graphfew.core.dense_batch import DenseBatch
from graphfew.methods._propagation_graph import edge_weights, harmonic_scores
from graphfew.methods.label_spreading import spreading_scores
from graphfew.propagation.solvers import COLUMNS_PER_SOLVE

CHECKED = settings(deadline=None, derandomize=True, max_examples=40)
SEEDS = st.integers(0, 2**16)
AFFINITIES = {
    "self tuning": (propagation.self_tuning, propagation.sparse_self_tuning),
    "cosine power": (propagation.cosine_power, propagation.sparse_cosine_power),
}
TIGHT = {"tolerance": 1e-13, "max_iterations": 5000}


def features(seed, nodes, width=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(nodes, width, generator=generator, dtype=torch.float64)


def matrix(topology, weights):
    out = weights.new_zeros(topology.num_nodes, topology.num_nodes)
    for r, s, w in zip(
        topology.receivers.tolist(), topology.senders.tolist(), weights[:, 0], strict=True
    ):
        assert out[r, s] == 0
        out[r, s] = w
    return out


def labels(seed, nodes, classes, known):
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(nodes, classes, dtype=torch.float64)
    chosen = torch.randperm(nodes, generator=generator)[:known]
    label[chosen, torch.arange(known) % classes] = 1
    return label


def dense_tasks(x, label, weights=None):
    edges = None if weights is None else weights[None, :, :, None]
    return DenseBatch(x[None], label[None], torch.zeros(1, len(x), dtype=torch.bool), edges)


def positive_definite(seed, nodes, spread):
    """A matrix whose eigenvalues lie between 1 and `spread`."""
    basis = torch.linalg.qr(features(seed, nodes, nodes)).Q
    return basis @ torch.diag(torch.logspace(0, spread, nodes, dtype=torch.float64)) @ basis.T


@CHECKED
@given(st.integers(1, 12), st.integers(1, 4), SEEDS, st.floats(0, 2))
def test_conjugate_gradients_solve_all_columns(nodes, columns, seed, spread):
    a, b = positive_definite(seed, nodes, spread), features(seed + 1, nodes, columns)
    b = b * torch.logspace(-30, 30, columns, dtype=torch.float64)
    given = b.clone()
    ours = propagation.conjugate_gradients(lambda v: a @ v, b, tolerance=1e-12, max_iterations=200)
    assert torch.equal(b, given)
    theirs = torch.linalg.solve(a, b)
    assert ((ours - theirs).norm(dim=0) <= 1e-9 * theirs.norm(dim=0)).all()


def test_columns_converge_independently():
    a = positive_definite(0, 30, 2)
    values, vectors = torch.linalg.eigh(a)
    # Zero; solved by one step; by two; and by none within a few.
    b = torch.stack(
        [torch.zeros(30), vectors[:, 3], vectors[:, 3] + vectors[:, 20], features(1, 30, 1)[:, 0]],
        dim=1,
    )
    rounds = []

    def apply(v):
        rounds.append(v.clone())
        return a @ v

    ours = propagation.conjugate_gradients(apply, b, tolerance=1e-10, max_iterations=200)
    assert not ours[:, 0].any()
    assert torch.allclose(ours, torch.linalg.solve(a, b), rtol=0, atol=1e-9)
    assert len(rounds) > 10
    alone = [
        propagation.conjugate_gradients(
            lambda v: a @ v, b[:, [c]], tolerance=1e-10, max_iterations=200
        )
        for c in range(4)
    ]
    assert torch.allclose(torch.cat(alone, dim=1), ours, rtol=0, atol=1e-12)
    assert values.min() > 0.9


def test_conjugate_gradients_stop_at_the_tolerance():
    a, b, rounds = positive_definite(0, 40, 3), features(1, 40, 2), []

    def apply(v):
        rounds.append(1)
        return a @ v

    used = []
    for tolerance in (1e-2, 1e-6):
        rounds.clear()
        x = propagation.conjugate_gradients(apply, b, tolerance=tolerance)
        assert ((a @ x - b).norm(dim=0) <= 1.01 * tolerance * b.norm(dim=0)).all()
        used.append(len(rounds))
    assert used[0] < used[1]
    rounds.clear()
    propagation.conjugate_gradients(apply, b, tolerance=1e-6, max_iterations=used[1])
    with pytest.raises(
        ArithmeticError,
        match=f"in {used[1] - 1} iterations; the tolerance is 1.0e-06; allow more iterations",
    ):
        propagation.conjugate_gradients(apply, b, tolerance=1e-6, max_iterations=used[1] - 1)


def test_conjugate_gradients_keep_single_precision():
    a, b = positive_definite(0, 20, 1).float(), features(1, 20, 3).float()
    ours = propagation.conjugate_gradients(lambda v: a @ v, b)
    assert ours.dtype == torch.float32
    assert torch.allclose(ours, torch.linalg.solve(a, b), rtol=0, atol=1e-5)


def test_indefinite_matrices_raise():
    b = torch.ones(3, 1, dtype=torch.float64)
    for a in (-torch.eye(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)):
        with pytest.raises(ValueError, match="symmetric positive definite"):
            propagation.conjugate_gradients(lambda v, a=a: a @ v, b)
    for wrong in ({"tolerance": 0.0}, {"tolerance": float("nan")}, {"max_iterations": 0}):
        with pytest.raises(ValueError, match="both must be positive"):
            propagation.conjugate_gradients(lambda v: v, b, **wrong)


@pytest.mark.parametrize(("dense", "ours"), AFFINITIES.values(), ids=AFFINITIES)
@CHECKED
@given(st.integers(2, 25), SEEDS, st.integers(1, 12))
def test_sparse_affinities_equal_dense_ones(dense, ours, nodes, seed, k):
    x = features(seed, nodes)
    found = matrix(*ours(x, k))
    assert torch.equal(found, found.T)
    expected = dense(dense_tasks(x, torch.zeros(nodes, 2, dtype=torch.float64)), k)[0]
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)


def test_sparse_affinities_have_the_defaults_of_dense_ones():
    x = features(0, 40)
    tasks = dense_tasks(x, torch.zeros(40, 2, dtype=torch.float64))
    for dense, ours in AFFINITIES.values():
        assert torch.allclose(matrix(*ours(x)), dense(tasks)[0], rtol=0, atol=1e-10)
        with pytest.raises(ValueError, match="k is 0"):
            ours(x, 0)
    topology, weights = propagation.sparse_cosine_power(x, 5, 1.5)
    assert torch.allclose(
        matrix(topology, weights), propagation.cosine_power(tasks, 5, 1.5)[0], rtol=0, atol=1e-10
    )
    assert len(weights) < 40 * 10

    def shifted(x, k):
        index, distance = gf.propagation.exact_search(x, k)
        return index, distance + 1

    assert not torch.allclose(
        matrix(*propagation.sparse_self_tuning(x, 7, search=shifted)),
        propagation.self_tuning(tasks)[0],
        atol=1e-3,
    )


@CHECKED
@given(
    st.sampled_from(sorted(AFFINITIES)),
    st.integers(8, 30),
    st.integers(1, 4),
    SEEDS,
    st.floats(0.05, 0.99),
)
def test_sparse_solutions_equal_dense_ones(name, nodes, classes, seed, alpha):
    dense, ours = AFFINITIES[name]
    x = features(seed, nodes, 6)
    label = labels(seed, nodes, classes, 2 * classes)
    tasks = dense_tasks(x, label, dense(dense_tasks(x, label), 5)[0])
    topology, weights = ours(x, 5)
    spread = propagation.spread_labels(topology, weights, label / label.sum(0), alpha, **TIGHT)
    assert torch.allclose(spread, spreading_scores(tasks, alpha, None)[0], rtol=0, atol=1e-8)
    harmonic = propagation.harmonic_function(topology, weights, label, **TIGHT)
    assert torch.allclose(
        harmonic, harmonic_scores(edge_weights(tasks), tasks.one_hot)[0], rtol=0, atol=1e-8
    )


def test_classes_are_solved_in_column_blocks():
    x, label = features(1, 90, 6), labels(2, 90, 70, 70)
    tasks = dense_tasks(x, label, propagation.cosine_power(dense_tasks(x, label), 5)[0])
    topology, weights = propagation.sparse_cosine_power(x, 5)
    assert label.shape[1] > 2 * COLUMNS_PER_SOLVE
    spread = propagation.spread_labels(topology, weights, label, 0.8, **TIGHT)
    assert torch.allclose(spread, spreading_scores(tasks, 0.8, None)[0], rtol=0, atol=1e-8)
    harmonic = propagation.harmonic_function(topology, weights, label, **TIGHT)
    assert torch.allclose(
        harmonic, harmonic_scores(edge_weights(tasks), tasks.one_hot)[0], rtol=0, atol=1e-8
    )


def two_parts():
    """Nodes 0 – 1 – 2 with weights 1 and 3, nodes 3 – 4, and node 5 alone."""
    ends = torch.tensor([[0, 1, 1, 2, 3, 4], [1, 0, 2, 1, 4, 3]])
    topology = gf.from_edges(*ends, 6)
    heavy = (
        (topology.senders + topology.receivers == 3)
        & (topology.senders != 0)
        & (topology.receivers != 0)
    )
    return topology, (1 + 2 * heavy[:, None]).double()


def test_harmonic_function_averages_neighbors_and_is_zero_without_labels():
    topology, weights = two_parts()
    label = torch.zeros(6, 2, dtype=torch.float64)
    label[0, 0], label[2, 1] = 1, 1
    mass = propagation.harmonic_function(topology, weights, label, **TIGHT)
    assert torch.equal(mass[[0, 2]], label[[0, 2]])
    assert mass[1].tolist() == pytest.approx([0.25, 0.75], abs=1e-5)
    assert mass[1].sum() < 1
    assert not mass[3:].any()
    spread = propagation.spread_labels(topology, weights, label, 0.5, **TIGHT)
    assert not spread[3:].any()
    assert (spread[:3] > 0).all()


def test_sparse_matmul_equals_propagate():
    topology, weights = propagation.sparse_self_tuning(features(0, 30), 3)
    for dtype in (torch.float32, torch.float64):
        x, w = features(1, 30, 5).to(dtype), weights.to(dtype)
        ours = propagation.sparse_matmul(topology, w, x)
        assert ours.dtype == dtype
        assert torch.allclose(ours, topology.propagate(w, x), rtol=0, atol=1e-6)
    none = gf.from_edges(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 3)
    assert not propagation.sparse_matmul(none, torch.zeros(0, 1), torch.ones(3, 2)).any()
    assert (
        propagation.spread_labels(none, torch.zeros(0, 1), torch.eye(3)).tolist()
        == torch.eye(3).tolist()
    )


def test_invalid_graphs_raise():
    near = gf.propagation.knn(features(0, 20), 3)
    distance, label = near.distance.view(-1, 1), labels(0, 20, 2, 4)
    topology, weights = gf.propagation.union_graph(near.topology, distance)
    for solve in (propagation.spread_labels, propagation.harmonic_function):
        with pytest.raises(
            ValueError, match="must be symmetric: make it so with union_graph or mutual_graph"
        ):
            solve(near.topology, distance, label)
        with pytest.raises(ValueError, match=r"needs weights .* and a row of label for every node"):
            solve(topology, weights[1:], label)
        with pytest.raises(ValueError, match="and a row of label for every node"):
            solve(topology, weights, label[1:])
    for alpha in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"alpha is {alpha}; it must be between 0 and 1"):
            propagation.spread_labels(topology, weights, label, alpha)


def test_harmonic_function_is_invariant_to_weight_scale():
    topology, weights = propagation.sparse_self_tuning(features(0, 60), 5)
    label = labels(0, 60, 3, 6)
    whole = propagation.harmonic_function(topology, weights, label, **TIGHT)
    assert torch.allclose(
        propagation.harmonic_function(topology, 1e6 * weights, label, **TIGHT),
        whole,
        rtol=0,
        atol=1e-9,
    )
    assert torch.allclose(whole.sum(1), torch.ones(60, dtype=torch.float64), rtol=0, atol=1e-3)
