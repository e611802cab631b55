"""Contract of every registered method, in each of its modes."""

import inspect
import pickle

import pytest
import torch
from episodes import DIM, REQUIRED, identity_model, randomized, task

import graphfew as gf
from graphfew.methods.registry import METHODS

# Arguments that make a method small; other methods use their defaults.
SMALL = {
    "anil": {"way": 3},
    "attention_attractor": {"num_base_classes": 4, "hidden": 6},
    "attention_weight_generator": {"num_base_classes": 4},
    "boil": {"way": 3, "steps": 2},
    "bpa": {"inv_temperature": 1.0},
    "cavia": {"way": 3, "context_dim": 4},
    "dpgn": {"way": 3, "shot": 1, "generations": 3},
    "egnn": {"width": 6},
    "em_dirichlet": {"inv_temperature": 1.0, "mm_steps": 5, "num_iterations": 3},
    "gnn": {"way": 3, "width": 6, "growth": 4},
    "hard_em_dirichlet": {"inv_temperature": 1.0, "prior_weight": 0.0},
    "hsml": {"hidden": 6},
    "hybrid_attention": {"shot": 1},
    "hypernetwork": {"hidden": 6},
    "imaml": {"way": 3},
    "induction": {"num_slices": 4},
    "leo": {"latents": 4},
    "mann": {"way": 3, "width": 6, "num_slots": 5, "slot_width": 3, "num_heads": 2},
    "meta_lstm": {"steps": 3, "hidden": 4},
    "meta_networks": {"width": 4, "hidden": 5},
    "multi_metric": {"num_metrics": 3, "width": 4},
    **REQUIRED,
    # With the default inverse temperature, probabilities saturate and hide small changes.
    "paddle": {"inv_temperature": 1.0},
    "propagated_prototypes": {"inv_temperature": 1.0},
    "pt_map": {"inv_temperature": 1.0},
    "relation": {"width": 6},
    "snail": {"way": 3, "shot": 1, "filters": 3, "attention_sizes": [[4, 2], [5, 3]]},
    "stata": {"inv_temperature": 1.0, "likelihood_weight": 1.0},
}
# They read the supports of all classes as one sequence, not those of each class.
ONE_SEQUENCE = ("snail",)
# They adapt the weights and batch norms of their encoder, so the encoder needs some.
ADAPT_ENCODER = {"boil", "cavia", "film_adaptation", "maml", "maml_plus_plus", "meta_sgd"}
CASES = [
    (name, mode)
    for name, method in METHODS.items()
    for mode in ("inductive", "transductive")
    if getattr(method, mode)
]


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    """Return the name, mode, registry entry and randomized model of a method."""
    name, mode = request.param
    if name in ADAPT_ENCODER:
        encoder = torch.nn.Sequential(torch.nn.Linear(DIM, DIM), torch.nn.BatchNorm1d(DIM))
        model = randomized(gf.create(name, encoder=encoder, dim=DIM, **arguments(name, mode)))
    else:
        model = identity_model(name, **arguments(name, mode))
    return name, mode, METHODS[name], model


def arguments(name, mode):
    both = METHODS[name].inductive and METHODS[name].transductive
    return {**SMALL.get(name, {}), **({"transductive": mode == "transductive"} if both else {})}


def sample(method, seed, way, shots, queries, **options):
    """Create a task, with one shot if the method has a fixed shot."""
    return task(seed, way, (1,) if method.fixed_shot else shots, queries, **options)


def close(a, b, tolerance=1e-10):
    assert torch.allclose(a.softmax(1), b.softmax(1), rtol=0, atol=tolerance)


def permute_task(e, nodes=None, x=None, y=None):
    """Return the task with permuted nodes, or with other values."""
    nodes = torch.arange(len(e.y)) if nodes is None else nodes
    x, y = e.x if x is None else x, e.y if y is None else y
    return gf.Episode.single(x[nodes], y[nodes], e.query[nodes], e.way[0])


def test_logits_do_not_depend_on_the_batch(case):
    *_, method, model = case
    first, second, other = task(1, 3, (1,), 3), task(2, 3, (1,), 3), sample(method, 3, 3, (1, 2), 5)
    alone = model(first).logits
    close(model(gf.collate([second, first])).logits[3:], alone)
    close(model(gf.collate([other, first, second])).logits[5:8], alone)


def test_predict_logits_matches_forward(case):
    """Evaluation skips edges and graphs on which no logit depends."""
    *_, method, model = case
    first, second, other = task(1, 3, (1,), 3), task(2, 3, (1,), 3), sample(method, 3, 3, (1, 2), 1)
    for batch in ([first, second], [other, first], [other]):
        encoded = model.encode(gf.collate(batch))
        graphs = encoded.inductive() if model.one_graph_per_query else encoded
        close(model.predict_logits(graphs), model.forward_encoded(graphs).logits)


def test_mixed_ways(case):
    _, _, method, model = case
    wide, narrow = task(1, 5, (1,), 2), sample(method, 2, 3, (1, 2), 4)
    if method.fixed_way:
        with pytest.raises(ValueError, match=r"3-way.*5-way"):
            model(gf.collate([wide, narrow]))
        return
    logits = model(gf.collate([wide, narrow])).logits
    assert logits.shape == (6, 5)
    assert torch.isneginf(logits[2:, 3:]).all()
    assert torch.allclose(logits.softmax(1).sum(1), torch.ones(6, dtype=torch.float64))
    close(logits[2:, :3], model(narrow).logits)
    close(logits[:2], model(wide).logits)


def test_equal_sizes_with_different_shots_and_queries(case):
    """Tasks of equal size take the batched kernels, even if nothing else is equal."""
    *_, method, model = case
    if method.fixed_shot:
        with pytest.raises(ValueError, match="shot"):
            model(task(13, 3, (1, 2), 3))
        return
    tasks = [task(12, 3, (1,), 4), task(13, 3, (1, 2), 3)]
    tasks += [task(14, 3, (1,), 2, unlabeled=2) if method.unlabeled else task(14, 3, (2, 1), 2)]
    assert {e.sizes for e in tasks} == {(7,)}
    close(model(gf.collate(tasks)).logits, torch.cat([model(e).logits for e in tasks]))


def test_node_order(case):
    name, _, method, model = case
    e = sample(method, 4, 3, (1, 2), 4)
    order = torch.randperm(len(e.y), generator=torch.Generator().manual_seed(0))
    rank = torch.full((len(e.y),), -1)
    rank[e.query] = torch.arange(4)
    before, after = (
        model(e).logits[rank[order][e.query[order]]],
        model(permute_task(e, order)).logits,
    )
    assert model.node_order_matters == method.node_order_matters
    # Methods with a fixed shot have one support per class here, which has no order in its class.
    has_order = name in ONE_SEQUENCE or not method.fixed_shot
    matters = method.node_order_matters and has_order
    assert torch.allclose(before.softmax(1), after.softmax(1), rtol=0, atol=1e-10) != matters


def test_class_order(case):
    _, _, method, model = case
    e = sample(method, 5, 3, (1, 2), 4)
    renamed = torch.tensor([2, 0, 1])
    y = torch.where(e.y >= 0, renamed[e.y.clamp_min(0)], -1)
    before, after = model(e).logits, model(permute_task(e, y=y)).logits[:, renamed]
    assert (
        torch.allclose(before.softmax(1), after.softmax(1), rtol=0, atol=1e-10)
        != method.class_order_matters
    )


def test_inductive_predictions_are_independent(case):
    _, mode, _, model = case
    e = task(6, 3, (1,), 4)
    query_nodes = e.query.nonzero().flatten()
    others = e.x.clone()
    others[query_nodes[1:]] = torch.randn(
        3, DIM, generator=torch.Generator().manual_seed(1), dtype=e.x.dtype
    )
    keep = torch.tensor([i for i in range(len(e.y)) if not e.query[i] or i == query_nodes[0]])
    whole = model(e).logits[:1].softmax(1)
    dropped, replaced = (
        model(v).logits[:1].softmax(1) for v in (permute_task(e, keep), permute_task(e, x=others))
    )
    if mode == "inductive":
        close(whole.log(), dropped.log())
        close(whole.log(), replaced.log())
    else:
        assert (whole - replaced).abs().max() > 1e-6
        assert (whole - dropped).abs().max() > 1e-6


def test_fitted_form_matches_the_episode(case):
    """A context that is fitted once predicts later queries as an episode with them does."""
    _, mode, method, model = case
    tasks = [sample(method, 3, 3, (1, 2), 4), task(1, 3, (1,), 1)]
    if method.unlabeled:
        tasks += [task(6, 3, (1, 2), 3, unlabeled=4), task(7, 3, (1,), 2, unlabeled=1)]
    if not method.fixed_way:
        tasks.append(sample(method, 4, 5, (2, 1), 3))
    with gf.nn.eval_mode(model):
        if mode == "transductive":
            with pytest.raises(ValueError, match="transductive"):
                gf.evaluation.fit_method(model, tasks[0].drop_queries())
            return
        logits = model(gf.collate(tasks)).logits.split([e.n_queries[0] for e in tasks])
        for e, expected in zip(tasks, logits, strict=True):
            fitted = gf.evaluation.fit_method(model, e.drop_queries())
            close(fitted.predict_logits(e.x[e.query]), expected[:, : e.way[0]])
            if fitted.fitted is not None:
                again = pickle.loads(pickle.dumps(fitted.fitted.predictor))
                assert torch.equal(again(e.x[e.query]), fitted.predict_logits(e.x[e.query]))


def test_unlabeled_nodes_of_a_fitted_context_are_predicted(case):
    """Together, as the queries of the transductive mode, or alone if there is no such mode."""
    name, mode, method, model = case
    if mode == "transductive" or not method.unlabeled:
        return
    e = task(6, 3, (1, 2), 1, unlabeled=4)
    context = e.drop_queries()
    unlabeled = ~context.labeled
    with gf.nn.eval_mode(model):
        actual = gf.evaluation.fit_method(model, context).unlabeled_logits()
        if method.transductive:
            together = gf.Episode.single(context.x, context.y, unlabeled, 3)
            other = identity_model(name, **arguments(name, "transductive"))
            other.load_state_dict(model.state_dict())
            close(actual, other(together).logits)
        else:
            nodes = torch.cat([torch.arange(len(context.y)), unlabeled.nonzero().flatten()])
            query = torch.arange(len(nodes)) >= len(context.y)
            both = gf.Episode.single(context.x[nodes], context.y[nodes], query, 3)
            close(actual, model(both).logits)


def test_unlabeled_nodes_are_used_or_rejected(case):
    name, _, method, model = case
    e = task(7, 3, (1,), 3, unlabeled=2)
    without = permute_task(
        e, torch.tensor([i for i in range(len(e.y)) if e.query[i] or e.y[i] >= 0])
    )
    if method.unlabeled:
        assert (model(e).logits.softmax(1) - model(without).logits.softmax(1)).abs().max() > 1e-6
    else:
        with pytest.raises(ValueError, match=f"{name} got 2 unlabeled nodes"):
            model(e)


def test_inputs_are_not_modified(case):
    *_, method, model = case
    e = sample(method, 8, 3, (1, 2), 3)
    before = [t.clone() for t in (e.x, e.y, e.query)]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model(e)
    assert all(torch.equal(a, b) for a, b in zip(before, (e.x, e.y, e.query), strict=True))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_float32_and_float64(case):
    *_, method, model = case
    e = sample(method, 9, 3, (1, 2), 5)
    double = model(e).logits
    assert double.dtype == torch.float64
    assert torch.allclose(double.softmax(1).sum(1), torch.ones(5, dtype=torch.float64))
    single = model.float()(e.to(torch.float32)).logits
    assert single.dtype == torch.float32
    close(single.double(), double, 1e-3)


def test_checkpoint_round_trip(case, tmp_path):
    name, mode, _, _ = case
    model = randomized(
        gf.create(name, encoder=gf.backbones.conv4(width=4, size=16), **arguments(name, mode))
    ).float()
    e = task(10, 3, (1,), 2, dim=256).encode(lambda x: x.float().view(-1, 1, 16, 16))
    loaded = gf.load(gf.save(model, tmp_path / "model")).eval()
    assert loaded.transductive == model.transductive
    assert torch.equal(loaded(e).logits, model(e).logits)


def test_gradients_are_finite_and_nonzero(case):
    _, _, method, model = case
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        assert method.loss in (None, gf.node_loss)
        return
    model.train()
    e = gf.collate(
        [sample(method, s, 3, (1, 2), 3, unlabeled=2 if method.unlabeled else 0) for s in (1, 2, 3)]
    )
    method.loss(model(e), torch.tensor([0, 1, 2] * 3)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in weights)
    assert sum(bool(p.grad.any()) for p in weights) > len(weights) / 2


def test_forward_takes_only_the_episode(case):
    *_, model = case
    assert list(inspect.signature(model.forward).parameters) == ["episode"]


@pytest.mark.parametrize(
    "options", [{}, {"way": (2, 4), "unlabeled": 1}, {"shuffle": False, "query": (1, 3)}]
)
def test_tasks_hide_query_labels(options):
    tasks = gf.Tasks(gf.data.digits(size=8), **{"way": 2, "query": 2, **options})
    for i in range(5):
        episode, target = tasks[i]
        assert (episode.y[episode.query] == -1).all()
        assert len(target) == sum(episode.n_queries)
        assert (target >= 0).all()


def test_labeled_query_is_rejected():
    e = task(11, 3, (1,), 2)
    y = e.y.clone()
    y[e.query] = 1
    with pytest.raises(ValueError, match="carries label 1"):
        permute_task(e, y=y)


def test_every_registered_method_is_covered():
    assert {name for name, _ in CASES} == set(METHODS)
