"""Label propagation and spreading against loops, and what is special about them."""

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
FORMS = {
    "label_propagation": ({}, propagation.harmonic),
    "label_spreading": ({}, lambda *e: propagation.spread(*e, alpha=0.8)),
    "label_spreading-3 steps": (
        {"steps": 3, "alpha": 0.99},
        lambda *e: propagation.spread(*e, steps=3),
    ),
}
ALONE = {
    "label_propagation": propagation.harmonic_alone,
    "label_spreading": lambda *e: propagation.spread_alone(*e, alpha=0.8),
    "label_spreading-3 steps": lambda *e: propagation.spread_alone(*e, steps=3),
}


def create(form, **arguments):
    return gf.create(form.split("-")[0], encoder=gf.backbones.identity(DIM), **arguments).double()


def plain(e):
    return e.x.numpy(), e.y.tolist(), e.query.tolist(), e.way[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_shares_of_queries_asked_together(form, tasks):
    arguments, formula = FORMS[form]
    logits = create(form, **arguments)(gf.collate(tasks)).logits
    for e, ours in zip(tasks, logits.split([e.n_queries[0] for e in tasks]), strict=True):
        assert np.abs(ours.exp()[:, : e.way[0]].numpy() - formula(*plain(e))).max() < 1e-10


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_shares_of_queries_asked_alone(form, tasks):
    arguments, _ = FORMS[form]
    logits = create(form, transductive=False, **arguments)(gf.collate(tasks)).logits
    for e, ours in zip(tasks, logits.split([e.n_queries[0] for e in tasks]), strict=True):
        assert np.abs(ours.exp()[:, : e.way[0]].numpy() - ALONE[form](*plain(e))).max() < 1e-10


@pytest.mark.parametrize("form", FORMS)
def test_another_mode_is_the_method_made_in_that_mode(form):
    arguments, _ = FORMS[form]
    e = gf.collate(BATCHES["unlabeled"])
    together, alone = (create(form, transductive=t, **arguments) for t in (True, False))
    for made, other in ((together, alone), (alone, together)):
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
@pytest.mark.parametrize("form", ["label_propagation", "label_spreading"])
def test_a_large_task_has_the_answers_of_a_small_one(form, transductive, monkeypatch):
    e = task(3, 4, (2, 3), 12, unlabeled=20)
    model = create(form, transductive=transductive)
    dense = model(e).logits
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 20)
    precise = partial(spread_labels, tolerance=1e-13)
    monkeypatch.setattr(label_spreading_module, "spread_labels", precise)
    large = create(form, transductive=transductive)
    if form == "label_propagation":
        large.layers._steps[0].sparse_solve = partial(harmonic_function, tolerance=1e-13)
    out = large(e)
    assert out.graphs[0].topology.sizes is None
    assert len(out.graphs[0].edges) < len(e.y) ** 2 / 1.5
    assert torch.allclose(out.logits.exp(), dense.exp(), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="more than 20 nodes one at a time"):
        large(gf.collate([e, e]))


def test_a_large_task_is_solved_in_the_limit_alone(monkeypatch):
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 5)
    with pytest.raises(ValueError, match="got 3"):
        create("label_spreading", steps=3)(task(3, 4, (2, 3), 12))


def test_the_limit_of_spreading_is_where_its_steps_go():
    e = gf.collate(BATCHES["equal"])
    limit, steps = (
        create("label_spreading", alpha=0.9, steps=s)(e).logits.exp() for s in (None, 400)
    )
    assert torch.allclose(limit, steps, rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", ["label_propagation", "label_spreading"])
def test_a_node_that_no_label_reaches_is_answered_uniformly(form):
    x = (
        torch.eye(3, dtype=torch.float64).repeat_interleave(3, 0)
        + 0.01 * torch.arange(27).view(9, 3) % 0.05
    )
    y = torch.tensor([0, -1, -1, 1, -1, -1, -1, -1, -1])
    query = torch.tensor([False, True, False, False, True, False, True, False, False])
    model = gf.create(
        form, encoder=gf.backbones.identity(3), affinity=lambda tasks: self_tuning(tasks, 2)
    ).double()
    shares = model(gf.Episode.single(x, y, query, 2)).logits.exp()
    assert torch.allclose(
        shares, torch.tensor([[1, 0], [0, 1], [0.5, 0.5]], dtype=torch.float64), rtol=0, atol=1e-5
    )


def test_a_support_that_no_other_reaches_does_not_draw_queries_asked_alone():
    """Cosines of the query to the supports are 0.96, 0.96 and 0.11; those of the last to the others are below 0."""
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
def test_the_width_fits_any_scale_of_the_features(scale):
    e = BATCHES["unlabeled"][0]
    for form in ("label_propagation", "label_spreading"):
        ours, scaled = (create(form)(e.encode(lambda x, s=s: s * x)).logits for s in (1.0, scale))
        assert torch.allclose(ours, scaled, rtol=0, atol=1e-8)


def test_cosine_weights_are_their_own_mirror_image_and_need_neighbors():
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
def test_every_node_has_k_neighbors_and_not_itself(k):
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
def test_copies_of_a_node_are_as_near_as_each_other_however_products_are_rounded(far):
    """Some processors round the product of two equal rows differently in the middle of a matrix and at its edge."""
    generator = torch.Generator().manual_seed(0)
    x = far + torch.randn(1, 12, 6, generator=generator).repeat(1, 2, 1).to(torch.float32)
    scale = x.square().sum(2).amax(1)[:, None, None]
    exact = (x[:, :, None] - x[:, None]).square().sum(3)
    noise = torch.rand(exact.shape, generator=generator) - 0.5
    rounded = exact + 4 * torch.finfo(x.dtype).eps * scale * noise
    assert not torch.equal(knn_mask(rounded, 4, scale=0.0), knn_mask(exact, 4, scale=0.0))
    assert torch.equal(knn_mask(rounded, 4, scale=scale), knn_mask(exact, 4, scale=scale))


def test_more_shots_of_a_class_do_not_favor_it():
    """A query in the middle between a class of one shot and one of three at the same place."""
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
def test_refuses_what_it_cannot_do(arguments, words):
    with pytest.raises(ValueError, match=words):
        create("label_spreading", **arguments)
    with pytest.raises(ValueError, match="at least 1 neighbor"):
        self_tuning(
            DenseBatch(
                torch.zeros(1, 2, 1), torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.bool)
            ),
            0,
        )
