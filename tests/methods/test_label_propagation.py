"""Label propagation and label spreading against loops, and their properties."""

import importlib
from functools import partial

import numpy as np
import pytest
import torch
from episodes import DIM, task
from reference import propagation

import graphfew as gf
from graphfew.core.dense_batch import DenseBatch
from graphfew.methods import _propagation_graph
from graphfew.propagation import (
    cosine_power,
    harmonic_function,
    self_tuning,
    spread_labels,
)
from graphfew.propagation.affinity import knn_mask, squared_distances

# The method of the same name hides the module in the package.
label_spreading_module = importlib.import_module("graphfew.methods.label_spreading")
BATCHES = {
    "equal": [task(1, 3, (1,), 2), task(2, 3, (1,), 2)],
    "unlabeled": [task(3, 3, (2, 1), 2, unlabeled=2), task(4, 3, (1, 3), 3, unlabeled=1)],
    "mixed ways": [task(5, 2, (1,), 1), task(6, 4, (1, 2), 3, unlabeled=1), task(7, 6, (1,), 2)],
    "equal sizes": [
        task(10, 2, (1, 2), 4),
        task(11, 5, (1,), 2),
        task(12, 3, (1, 2), 1, unlabeled=2),
    ],
}
VARIANTS = {
    "label_propagation": ({}, propagation.harmonic),
    "label_spreading": ({}, lambda *e: propagation.spread(*e, alpha=0.8)),
    "label_spreading-3 steps": (
        {"steps": 3, "alpha": 0.99},
        lambda *e: propagation.spread(*e, steps=3),
    ),
}
INDUCTIVE = {
    "label_propagation": propagation.harmonic_inductive,
    "label_spreading": lambda *e: propagation.spread_inductive(*e, alpha=0.8),
    "label_spreading-3 steps": lambda *e: propagation.spread_inductive(*e, steps=3),
}


def create(variant, **arguments):
    return gf.create(
        variant.split("-")[0], encoder=gf.backbones.identity(DIM), **arguments
    ).double()


def task_arrays(e):
    return e.x.numpy(), e.y.tolist(), e.query.tolist(), e.way[0]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_transductive_probs(variant, tasks):
    arguments, formula = VARIANTS[variant]
    logits = create(variant, **arguments)(gf.collate(tasks)).logits
    for e, actual in zip(tasks, logits.split([e.n_queries[0] for e in tasks]), strict=True):
        assert np.abs(actual.exp()[:, : e.way[0]].numpy() - formula(*task_arrays(e))).max() < 1e-10


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_inductive_probs(variant, tasks):
    arguments, _ = VARIANTS[variant]
    logits = create(variant, transductive=False, **arguments)(gf.collate(tasks)).logits
    for e, actual in zip(tasks, logits.split([e.n_queries[0] for e in tasks]), strict=True):
        assert (
            np.abs(actual.exp()[:, : e.way[0]].numpy() - INDUCTIVE[variant](*task_arrays(e))).max()
            < 1e-10
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_in_mode_matches_method_created_in_that_mode(variant):
    arguments, _ = VARIANTS[variant]
    e = gf.collate(BATCHES["unlabeled"])
    transductive, inductive = (create(variant, transductive=t, **arguments) for t in (True, False))
    for made, other in ((transductive, inductive), (inductive, transductive)):
        changed = made.in_mode(transductive=other.transductive)
        assert torch.equal(changed(e).logits, other(e).logits)
        assert torch.equal(
            changed.on_features().in_mode(transductive=made.transductive)(e).logits, made(e).logits
        )
        assert (changed.transductive, changed.independent_queries) == (
            other.transductive,
            not other.transductive,
        )


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("variant", ["label_propagation", "label_spreading"])
def test_sparse_matches_dense(variant, transductive, monkeypatch):
    e = task(3, 4, (2, 3), 12, unlabeled=20)
    model = create(variant, transductive=transductive)
    dense = model(e).logits
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 20)
    precise = partial(spread_labels, tolerance=1e-13)
    monkeypatch.setattr(label_spreading_module, "spread_labels", precise)
    large = create(variant, transductive=transductive)
    if variant == "label_propagation":
        large.layers._steps[0].sparse_solve = partial(harmonic_function, tolerance=1e-13)
    out = large(e)
    assert out.graphs[0].topology.sizes is None
    assert len(out.graphs[0].edges) < len(e.y) ** 2 / 1.5
    assert torch.allclose(out.logits.exp(), dense.exp(), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="more than 20 nodes one at a time"):
        large(gf.collate([e, e]))


def test_steps_are_rejected_for_large_tasks(monkeypatch):
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 5)
    with pytest.raises(ValueError, match="got 3"):
        create("label_spreading", steps=3)(task(3, 4, (2, 3), 12))


def test_iteration_converges_to_the_limit():
    e = gf.collate(BATCHES["equal"])
    limit, steps = (
        create("label_spreading", alpha=0.9, steps=s)(e).logits.exp() for s in (None, 400)
    )
    assert torch.allclose(limit, steps, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ["label_propagation", "label_spreading"])
def test_unreachable_node_has_uniform_probs(variant):
    x = (
        torch.eye(3, dtype=torch.float64).repeat_interleave(3, 0)
        + 0.01 * torch.arange(27).view(9, 3) % 0.05
    )
    y = torch.tensor([0, -1, -1, 1, -1, -1, -1, -1, -1])
    query = torch.tensor([False, True, False, False, True, False, True, False, False])
    model = gf.create(
        variant, encoder=gf.backbones.identity(3), affinity=lambda tasks: self_tuning(tasks, 2)
    ).double()
    probs = model(gf.Episode.single(x, y, query, 2)).logits.exp()
    assert torch.allclose(
        probs, torch.tensor([[1, 0], [0, 1], [0.5, 0.5]], dtype=torch.float64), rtol=0, atol=1e-5
    )


def test_isolated_support_does_not_attract_inductive_queries():
    """The isolated support has cosine 0.11 to the query and negative cosines to the others."""
    x = torch.tensor(
        [[1.0, 0, 0], [0.9, 0.45, 0], [-0.05, -0.05, 1.0], [0.9, 0.2, 0.16]], dtype=torch.float64
    )
    e = gf.Episode.single(
        x, torch.tensor([0, 1, 2, -1]), torch.tensor([False, False, False, True]), 3
    )
    model = gf.create(
        "label_spreading", encoder=gf.backbones.identity(3), center=[0.0] * 3, transductive=False
    )
    assert model.double()(e).logits.exp()[0, 2] < 0.01


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_affinity_is_scale_invariant(scale):
    e = BATCHES["unlabeled"][0]
    for variant in ("label_propagation", "label_spreading"):
        actual, scaled = (
            create(variant)(e.encode(lambda x, s=s: s * x)).logits for s in (1.0, scale)
        )
        assert torch.allclose(actual, scaled, rtol=0, atol=1e-8)


def test_cosine_power_is_symmetric_and_needs_neighbors():
    x = torch.randn(2, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tasks = DenseBatch(x, x.new_zeros(2, 8, 2), torch.ones(2, 8, dtype=torch.bool))
    for k in (1, 3, 50):
        weights = cosine_power(tasks, k).numpy()
        assert (
            np.abs(weights - [propagation.cosine_power(rows, k) for rows in x.numpy()]).max()
            < 1e-12
        )
        assert np.abs(weights - weights.transpose(0, 2, 1)).max() == 0
    with pytest.raises(ValueError, match="at least 1 neighbor"):
        cosine_power(tasks, 0)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_knn_mask_excludes_self(k):
    x = torch.randn(2, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    near = knn_mask(squared_distances(x, x), k)
    assert (near.sum(2) == min(k, 7)).all()
    assert not near.diagonal(dim1=1, dim2=2).any()
    affinity = self_tuning(
        DenseBatch(x, x.new_zeros(2, 8, 2), torch.ones(2, 8, dtype=torch.bool)), k
    )
    assert torch.equal(affinity, affinity.mT)
    assert not affinity.diagonal(dim1=1, dim2=2).any()


@pytest.mark.parametrize("far", [0.0, 100.0])
def test_knn_mask_treats_duplicates_equally_despite_rounding(far):
    """On some processors the rounding of an inner product depends on its position in a matmul."""
    generator = torch.Generator().manual_seed(0)
    x = far + torch.randn(1, 12, 6, generator=generator).repeat(1, 2, 1).to(torch.float32)
    scale = x.square().sum(2).amax(1)[:, None, None]
    exact = (x[:, :, None] - x[:, None]).square().sum(3)
    noise = torch.rand(exact.shape, generator=generator) - 0.5
    rounded = exact + 4 * torch.finfo(x.dtype).eps * scale * noise
    assert not torch.equal(knn_mask(rounded, 4, scale=0.0), knn_mask(exact, 4, scale=0.0))
    assert torch.equal(knn_mask(rounded, 4, scale=scale), knn_mask(exact, 4, scale=scale))


def test_class_with_more_shots_is_not_favored():
    """The query is midway between a class with one shot and one with three equal shots."""
    x = torch.tensor(
        [[-1.0, 0], [1.0, 0], [1.0, 0.001], [1.0, -0.001], [0, 0]], dtype=torch.float64
    )
    e = gf.Episode.single(x, torch.tensor([0, 1, 1, 1, -1]), torch.arange(5) == 4, 2)
    complete = gf.create(
        "label_spreading",
        encoder=gf.backbones.identity(2),
        alpha=0.01,
        affinity=lambda t: torch.ones(1, 5, 5, dtype=torch.float64) - torch.eye(5),
    ).double()
    assert complete(e).logits.exp()[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"alpha": 1.0}, "alpha must .* got 1.0"), ({"steps": 0}, "steps must .* got 0")],
)
def test_invalid_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        create("label_spreading", **arguments)
    with pytest.raises(ValueError, match="at least 1 neighbor"):
        self_tuning(
            DenseBatch(
                torch.zeros(1, 2, 1), torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.bool)
            ),
            0,
        )
