"""Poisson learning, WNLL, Poisson-reweighted Laplace learning and PoissonMBO against loops."""

import pytest
import torch
from episodes import DIM, task
from reference import poisson as reference
from reference_check import UNLABELED, assert_matches

import graphfew as gf
from graphfew.methods import _propagation_graph
from graphfew.propagation import (
    harmonic_function,
    knn_gaussian,
    poisson_learning,
    reweight_nonlocal,
    reweight_poisson,
    threshold_dynamics,
)
from graphfew.propagation.affinity_graphs import knn_gaussian_graph

NAMES = ["poisson", "poisson_mbo", "poisson_reweighted", "wnll"]
PRIOR = [0.5, 0.3, 0.2]


def harmonic_on(reweight):
    return lambda w, label: reference.harmonic(reweight(w, label), label)


def uniform_mbo(w, label):
    return reference.mbo_probs(w, label, [1 / label.shape[1]] * label.shape[1])


FORMULAS = {
    "poisson": ({}, reference.poisson_probs),
    "poisson_mbo": ({"prior": "uniform"}, uniform_mbo),
    "poisson_reweighted": ({}, harmonic_on(reference.poisson_weights)),
    "wnll": ({}, harmonic_on(reference.nonlocal_weights)),
}
WITH_PRIOR = {
    "poisson": lambda w, label: reference.poisson_probs(w, label, PRIOR),
    "poisson_mbo": lambda w, label: reference.mbo_probs(w, label, PRIOR),
}
# Harmonic functions are damped by 1e-6.
TOLERANCE = {"poisson": 1e-9, "poisson_mbo": 1e-9, "poisson_reweighted": 2e-3, "wnll": 1e-4}


def create(name, dim=DIM, **arguments):
    arguments = {**FORMULAS[name][0], **arguments}
    return gf.create(name, encoder=gf.backbones.identity(dim), **arguments).double()


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_probs_equal_loops(name, tasks, transductive):
    mode = reference.transductive if transductive else reference.inductive

    def formula(*arrays):
        return mode(*arrays, FORMULAS[name][1])

    model = create(name, transductive=transductive)
    assert_matches(model, tasks, formula, TOLERANCE[name], probs=True)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("name", WITH_PRIOR)
def test_probs_with_a_prior_equal_loops(name, transductive):
    mode = reference.transductive if transductive else reference.inductive
    tasks = [task(seed, 3, (1, 2), 6, unlabeled=20) for seed in range(3)]

    def formula(*arrays):
        return mode(*arrays, WITH_PRIOR[name])

    model = create(name, transductive=transductive, prior=[5.0, 3.0, 2.0])
    assert_matches(model, tasks, formula, 1e-9, probs=True)


@pytest.mark.parametrize("name", NAMES)
def test_in_mode_matches_method_created_in_that_mode(name):
    e = gf.collate(UNLABELED["unlabeled"])
    transductive, inductive = (create(name, transductive=t) for t in (True, False))
    assert torch.equal(transductive.in_mode(transductive=False)(e).logits, inductive(e).logits)
    assert torch.equal(inductive.in_mode(transductive=True)(e).logits, transductive(e).logits)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_sparse_matches_dense(name, transductive, monkeypatch):
    e = task(3, 4, (2, 3), 12, unlabeled=20)
    dense = create(name, transductive=transductive)(e).logits
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 20)
    out = create(name, transductive=transductive)(e)
    assert out.graphs[0].topology.sizes is None
    assert torch.allclose(out.logits.exp(), dense.exp(), rtol=0, atol=1e-4)


def test_large_tasks_equal_the_functions_of_graphs(monkeypatch):
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 20)
    e = task(3, 3, (2, 3), 12, unlabeled=30)
    x = gf.propagation.power_normalize(e, 1.0, None, None).x
    graph = knn_gaussian_graph(x)
    topology, weights = graph.topology, graph.weights
    label = torch.nn.functional.one_hot(e.y.clamp_min(0), 3).double() * e.labeled[:, None]
    prior = torch.tensor(PRIOR, dtype=torch.float64)
    expected = {
        "poisson": poisson_learning(topology, weights, label, prior),
        "poisson_mbo": threshold_dynamics(topology, weights, label, prior),
    }
    for name, probs in expected.items():
        found = create(name, prior=PRIOR)(e).logits.softmax(1)
        assert torch.allclose(found, probs[e.query], rtol=0, atol=1e-10)
    for name, reweight in (("wnll", reweight_nonlocal), ("poisson_reweighted", reweight_poisson)):
        function = harmonic_function(topology, reweight(topology, weights, label), label)
        probs = function / function.sum(1, keepdim=True)
        found = create(name)(e).logits.softmax(1)
        assert torch.allclose(found, probs[e.query], rtol=0, atol=1e-10)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_components_without_a_class_or_any_label(name, transductive, is_sparse, monkeypatch):
    """Groups of 16 near three axes: two classes, one class, and no label."""
    if is_sparse:
        monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 5)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(48, 4, generator=generator, dtype=torch.float64)
    x = torch.eye(4, dtype=torch.float64)[:3].repeat_interleave(16, 0) + noise
    y = torch.full((48,), -1)
    y[[0, 1, 16]] = torch.tensor([0, 1, 2])
    query = torch.arange(48) % 16 >= 12
    e = gf.Episode.single(x, y, query, 3)
    model = create(name, dim=4, transductive=transductive)
    first, second, third = model(e).logits.softmax(1).split(4)
    assert first[:, 2].max() < 1e-6
    assert second[:, 2].min() > 1 - 1e-6
    assert torch.allclose(third, torch.full_like(third, 1 / 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_duplicated_points_have_finite_probs(name, dtype):
    points = torch.eye(4, DIM, dtype=dtype).repeat_interleave(15, 0)
    y = torch.full((60,), -1)
    y[::15] = torch.arange(4)
    query = (torch.arange(60) % 15) > 10
    model = create(name).to(dtype)
    for transductive in (True, False):
        probs = model.in_mode(transductive=transductive)(gf.Episode.single(points, y, query, 4))
        assert torch.allclose(
            probs.logits.softmax(1).argmax(1), torch.arange(4).repeat_interleave(4)
        )
        assert torch.isfinite(probs.logits).all()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("name", NAMES)
def test_the_scale_of_features_has_no_influence(name, scale):
    e = UNLABELED["unlabeled"][0]
    model = create(name)
    scaled = model(e.encode(lambda x: scale * x)).logits
    assert torch.allclose(model(e).logits.softmax(1), scaled.softmax(1), rtol=0, atol=1e-8)


def test_poisson_mbo_needs_a_prior():
    encoder = gf.backbones.identity(DIM)
    with pytest.raises(
        ValueError, match=r"poisson_mbo needs class proportions; pass prior=\[...\]"
    ):
        gf.create("poisson_mbo", encoder=encoder)
    with pytest.raises(ValueError, match="both must be at least 1"):
        gf.create("poisson_mbo", encoder=encoder, prior="uniform", num_iterations=0)


@pytest.mark.parametrize("name", WITH_PRIOR)
def test_the_prior_must_fit_the_task(name):
    with pytest.raises(ValueError, match="give a positive number for each class"):
        create(name, prior=[1.0, 0.0])
    with pytest.raises(ValueError, match="the prior has 2 classes and the task 3"):
        create(name, prior=[1.0, 2.0])(task(0, 3, (1,), 2))


def test_features_must_fit_the_center():
    with pytest.raises(ValueError, match="center"):
        create("poisson", center=[0.0])


def test_other_affinities_are_used():
    e = UNLABELED["unlabeled"][0]
    fewer = create("poisson", affinity=lambda tasks: knn_gaussian(tasks, 3))(e).logits
    assert not torch.allclose(fewer, create("poisson")(e).logits, atol=1e-3)
