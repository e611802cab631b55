"""Fitted methods predict what episodes predict, also on large and degenerate contexts."""

import copy

import pytest
import torch
from episodes import DIM, identity_model, task

import graphfew as gf
from graphfew.evaluation import fit_method
from graphfew.methods import _propagation_graph
from graphfew.nn import predictors as fitted_records

PROPAGATION = {
    "label_propagation": {},
    "label_spreading": {},
    "label_spreading, two steps": {"steps": 2},
    "label_spreading, one step": {"steps": 1},
    "label_spreading, self-tuning": {"affinity": gf.propagation.self_tuning},
    "label_propagation, cosine": {"affinity": gf.propagation.cosine_power},
    "label_propagation, power and center": {"power": 0.5, "center": [0.1] * DIM},
}
OTHERS = {
    "pool_prototypes": {"n_components": 3, "power": 0.5},
    "simpleshot": {"center": [0.5] * DIM},
    "linear_head": {"normalize": False, "scale": 2.0},
    "nearest_neighbor": {"metric": gf.nn.cosine},
    "matching": {"metric": lambda a, b: -(a - b).abs().sum(1, keepdim=True)},
    "prototypical": {"metric": lambda a, b: (a * b).sum(1, keepdim=True)},
}


def create(name, **arguments):
    method = name.partition(",")[0]
    if gf.METHODS[method].transductive:
        arguments["transductive"] = False
    return identity_model(method, **arguments)


def difference(model, e):
    """The largest difference in probability between the fitted form and the episode."""
    with gf.nn.eval_mode(model):
        fitted = fit_method(model, e.drop_queries())
        assert fitted.fitted is not None
        actual, expected = fitted.predict_logits(e.x[e.query]), model(e).logits
    return float((actual.softmax(1) - expected.softmax(1)).abs().max())


@pytest.mark.parametrize("name", [*PROPAGATION, *OTHERS])
def test_options_of_methods(name):
    model = create(name, **{**PROPAGATION, **OTHERS}[name])
    unlabeled = 20 if model.unlabeled and gf.METHODS[name.partition(",")[0]].unlabeled else 0
    assert difference(model, task(1, 4, (3, 1), 5, unlabeled=unlabeled)) < 1e-10


@pytest.mark.parametrize("name", [name for name in PROPAGATION if "step" not in name])
def test_sparse_graphs(name, monkeypatch):
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 10)
    model = create(name, **PROPAGATION[name])
    e = task(2, 4, (2,), 6, unlabeled=60)
    assert difference(model, e) < 1e-6
    monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 1000)
    with gf.nn.eval_mode(model):
        dense = fit_method(model, e.drop_queries())
        monkeypatch.setattr(_propagation_graph, "DENSE_NODES", 10)
        sparse = fit_method(model, e.drop_queries())
        queries = e.x[e.query]
        a, b = dense.predict_logits(queries), sparse.predict_logits(queries)
    assert (a.softmax(1) - b.softmax(1)).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["label_propagation", "label_spreading", "pool_prototypes"])
def test_duplicates_and_constant_features(name):
    """Nodes that coincide tie for the last neighbor; ties count in dense graphs."""
    e = task(3, 3, (2,), 4, unlabeled=10)
    x = e.x.round()
    tied = gf.Episode.single(x, e.y, e.query, 3)
    assert difference(create(name), tied) < 1e-10
    constant = gf.Episode.single(torch.ones_like(x), e.y, e.query, 3)
    assert difference(create(name), constant) < 1e-10


def test_chunks_of_queries(monkeypatch):
    e = task(4, 3, (4,), 20)
    for name in ("nearest_neighbor", "matching", "label_propagation"):
        model = create(name)
        with gf.nn.eval_mode(model):
            fitted = fit_method(model, e.drop_queries())
            whole = fitted.predict_logits(e.x[e.query])
            with monkeypatch.context() as patch:
                patch.setattr(fitted_records, "CHUNK_BYTES", 300)
                patch.setattr("graphfew.propagation.affinity_rows.CHUNK_BYTES", 300)
                parts = fitted.predict_logits(e.x[e.query])
        assert (whole - parts).abs().max() < 1e-10


def test_custom_affinity_runs_episodes():
    def affinity(tasks):
        return gf.propagation.cosine_power(tasks, k=3)

    model, e = create("label_spreading", affinity=affinity), task(5, 3, (2,), 3, unlabeled=5)
    with gf.nn.eval_mode(model):
        fitted = fit_method(model, e.drop_queries())
        assert fitted.fitted is None
        assert (fitted.predict_logits(e.x[e.query]) - model(e).logits).abs().max() < 1e-10


def test_copied_model_is_fitted_with_its_own_weights():
    """A closure over the layers of the original would ignore later training of the copy."""
    e, model = task(6, 3, (2,), 3), create("prototypical", scale=1.0, learn_scale=True)
    copied = copy.deepcopy(model)
    copied.layers[0].scale.data.fill_(7.0)
    assert difference(copied, e) < 1e-10
    assert difference(model, e) < 1e-10


def test_invalid_contexts_are_rejected():
    e, model = task(7, 3, (2,), 3), create("simpleshot")
    with pytest.raises(ValueError, match="1 tasks with 3 queries"):
        fit_method(model, e)
    with pytest.raises(ValueError, match="2 tasks with 0 queries"):
        fit_method(model, gf.collate([e, e]).drop_queries())
    unlabeled = task(8, 3, (2,), 3, unlabeled=2).drop_queries()
    with pytest.raises(ValueError, match="simpleshot got 2 unlabeled"):
        fit_method(model, unlabeled)


def test_context_is_validated():
    x, y = torch.eye(3), torch.tensor([0, 1, -1])
    context = gf.Episode.context(x, y, way=2)
    assert (context.n_queries, context.n_unlabeled, context.sizes) == ((0,), (1,), (3,))
    with pytest.raises(ValueError, match="class 2 of task 0"):
        gf.Episode.context(x, y, way=3)
    with pytest.raises(ValueError, match="lengths differ"):
        gf.Episode.context(x[:2], y, way=2)


def test_drop_queries_keeps_the_context():
    first, second = task(1, 3, (1,), 2, unlabeled=2), task(2, 4, (2,), 3)
    context = gf.collate([first, second]).drop_queries()
    assert context.sizes == (5, 8)
    assert context.n_queries == (0, 0)
    assert context.n_unlabeled == (2, 0)
    assert torch.equal(context.x, torch.cat([first.x[~first.query], second.x[~second.query]]))
