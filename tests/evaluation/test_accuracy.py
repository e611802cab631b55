"""Evaluation: its arithmetic, what it leaves alone, and the models that it refuses."""

import importlib
import json

import numpy as np
import pytest
import torch
from scipy import stats
from sources import Gaussians
from torch import nn

import graphfew as gf
from graphfew.evaluation import EvaluationMode

# The package has a function of the same name.
module = importlib.import_module("graphfew.evaluation.accuracy")
TASKS = Gaussians(query=3)


def egnn(transductive=True, encoder=None):
    return gf.create(
        "egnn",
        encoder=encoder or gf.backbones.identity(4),
        dim=4,
        layers=2,
        width=6,
        transductive=transductive,
    )


def test_the_mean_and_its_interval_are_those_of_per_task_accuracies():
    model = egnn()
    result = gf.evaluate(model, TASKS, n=7)
    own = []
    with gf.nn.eval_mode(model):
        for i in range(7):
            episode, target = TASKS.task(i)
            own.append(float((model(episode).logits.argmax(1) == target).double().mean()))
    assert result.per_task == pytest.approx(own)
    assert result.mean == pytest.approx(np.mean(own))
    low, high = stats.t.interval(0.95, 6, loc=np.mean(own), scale=stats.sem(own))
    assert result.half_width == pytest.approx((high - low) / 2)


def test_the_interval_by_hand():
    # sd 1, n 4, t(0.975, 3) = 3.182446
    mean, half = module.t_interval([1.0, 1.0, 3.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(3.182446 * (4 / 3) ** 0.5 / 2, rel=1e-6))


def test_a_paired_comparison_is_scipy_s():
    model, other = egnn(), gf.create("prototypical", encoder=gf.backbones.identity(4))
    comparison = gf.compare(model, other, TASKS, n=20)
    test = stats.ttest_rel(comparison.a.per_task, comparison.b.per_task)
    interval = test.confidence_interval()
    assert comparison.difference == pytest.approx(
        np.mean(comparison.a.per_task) - np.mean(comparison.b.per_task)
    )
    assert comparison.p_value == pytest.approx(test.pvalue)
    assert comparison.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_a_model_compared_with_itself_is_no_better():
    comparison = gf.compare(egnn(), egnn(), TASKS, n=5)
    assert (comparison.difference, comparison.half_width, comparison.p_value) == (0, 0, 1)


def test_results_of_different_tasks_are_not_compared():
    a, b = gf.evaluate(egnn(), TASKS, n=4), gf.evaluate(egnn(), Gaussians(query=3, seed=1), n=4)
    for other in (b, gf.evaluate(egnn(), TASKS, n=5)):
        with pytest.raises(ValueError, match="different tasks"):
            gf.compare_results(a, other)


@pytest.mark.parametrize("transductive", [True, False])
def test_working_in_pieces_changes_nothing(monkeypatch, transductive):
    model = egnn(transductive)
    episode, _ = TASKS.batch(range(5))
    with gf.nn.eval_mode(model):
        whole = model(episode).logits
        for bound in (1, 40, 200):
            monkeypatch.setattr(module, "EDGES_AT_ONCE", bound)
            assert torch.allclose(
                gf.predict(model, episode).softmax(1), whole.softmax(1), atol=1e-6
            )


def test_pieces_of_different_ways_are_padded(monkeypatch):
    model = egnn()
    episode = gf.collate([Gaussians(way=2).task(0)[0], Gaussians(way=4).task(0)[0]])
    monkeypatch.setattr(module, "EDGES_AT_ONCE", 1)
    with gf.nn.eval_mode(model):
        logits = gf.predict(model, episode)
    assert logits.shape == (12, 4)
    assert torch.isneginf(logits[:4, 2:]).all()


def test_progress_counts_tasks():
    seen = []
    gf.evaluate(egnn(), TASKS, n=7, batch=3, progress=seen.append)
    assert seen == [3, 6, 7]


class Normed(nn.Module):
    """Batch norm over features."""

    def __init__(self, **options):
        super().__init__()
        self.norm = nn.BatchNorm1d(4, **options)

    def forward(self, x):
        return self.norm(x)


def test_modes_and_running_statistics_are_left_as_they_were():
    model = egnn(encoder=Normed())
    model.train()
    model.encoder.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gf.evaluate(model, TASKS, n=3)
    declared = gf.evaluate(model, TASKS, n=3, transductive_bn=True)
    assert str(declared.mode) == "transductive, transductive batch norm"
    assert model.training
    assert not model.encoder.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_declared_batch_norm_uses_each_task_alone():
    model = egnn(encoder=Normed())
    episode, _ = TASKS.batch([0])
    with gf.nn.eval_mode(model, transductive_bn=True):
        seen = model.encode(episode).x
    assert torch.allclose(seen.mean(0), torch.zeros(4), atol=1e-5)


def test_batch_norm_that_looks_at_the_test_batch_is_refused_unless_declared():
    model = egnn(encoder=Normed(track_running_stats=False))
    with pytest.raises(gf.evaluation.ContractError, match="transductive_bn=True"):
        gf.evaluate(model, TASKS, n=3)
    assert gf.evaluate(model, TASKS, n=3, transductive_bn=True).mode.transductive_bn


class Peeking(nn.Module):
    """Centers items on all items of the batch, queries included."""

    def forward(self, x):
        return x - 3 * x.mean(0)


class Ordered(nn.Module):
    """Adds each item's place in the batch."""

    def forward(self, x):
        return x * (1 + torch.arange(len(x))[:, None])


@pytest.mark.parametrize("transductive", [True, False])
def test_a_model_that_reads_the_order_is_refused(transductive):
    model = egnn(transductive, Ordered())
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(model, TASKS, n=3)


def test_a_method_that_reads_supports_in_order_is_held_to_the_rest():
    ordered = gf.create("matching_fce", encoder=gf.backbones.identity(4))
    assert 0 < gf.evaluate(ordered, TASKS, n=3).mean <= 1
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(gf.create("matching_fce", encoder=Ordered(), dim=4), TASKS, n=3)
    ordered.node_order_matters = False
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(ordered, TASKS, n=3)


def test_an_inductive_model_that_peeks_is_refused():
    cosine = gf.create("prototypical", encoder=Peeking(), dim=4, metric=gf.nn.cosine, scale=10.0)
    with pytest.raises(gf.evaluation.ContractError, match="other queries are taken away"):
        gf.evaluate(cosine, TASKS, n=3)


def test_a_result_says_what_it_hangs_on_and_is_json():
    model = egnn()
    model.provenance = {"training_seed": 4, "selected_on": "toy/val"}
    result = json.loads(json.dumps(gf.evaluate(model, TASKS, n=3).to_json()))
    assert result["mode"] == "transductive"
    assert result["tasks"]["query"] == 3
    assert result["device"] == "cpu"
    facts = result["model"]
    assert (facts["method"], facts["training_seed"], facts["selected_on"]) == ("egnn", 4, "toy/val")
    assert facts["input"] == [4]
    assert facts["encoder"] == {"name": "identity", "arguments": {"dim": 4}}
    assert len(result["per_task"]) == 3


def test_unlabeled_nodes_make_it_semi_supervised():
    data = gf.data.arrays(
        np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32), np.arange(40) % 4
    )
    tasks = gf.Tasks(data, way=3, query=2, unlabeled=2)
    assert str(gf.evaluate(egnn(False), tasks, n=2).mode) == "semi-supervised, inductive"


@pytest.mark.parametrize("options", [{"n": 1}, {"n": 5, "batch": 0}])
def test_an_interval_needs_two_tasks(options):
    with pytest.raises(ValueError, match="n >= 2"):
        gf.evaluate(egnn(), TASKS, **options)


def test_a_mode_may_be_changed_with_shared_weights():
    model = egnn()
    alone = model.in_mode(transductive=False)
    assert alone.spec.arguments["transductive"] is False
    assert alone.provenance["trained_mode"] == "transductive"
    assert all(a is b for a, b in zip(alone.parameters(), model.parameters(), strict=True))
    assert str(gf.evaluate(alone, TASKS, n=3).mode) == "inductive"
    with pytest.raises(ValueError, match="no transductive mode"):
        gf.create("prototypical", encoder=gf.backbones.identity(4)).in_mode(transductive=True)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("bound", [1, 100])
def test_neither_pieces_nor_batches_change_a_result(monkeypatch, transductive, bound):
    model = egnn(transductive)
    whole = gf.evaluate(model, TASKS, n=6)
    monkeypatch.setattr(module, "EDGES_AT_ONCE", bound)
    for batch in (1, 4):
        assert gf.evaluate(model, TASKS, n=6, batch=batch).per_task == whole.per_task


@pytest.mark.parametrize("transductive", [True, False])
def test_pieces_of_mixed_tasks_keep_the_order_of_queries(monkeypatch, transductive):
    model = egnn(transductive)
    episode = gf.collate(
        [Gaussians(way=3, shot=s, query=q, seed=s).task(0)[0] for s, q in ((1, 1), (3, 2), (2, 4))]
    )
    with gf.nn.eval_mode(model):
        whole = model(episode).logits.softmax(1)
        for bound in (1, 150, 10_000):
            monkeypatch.setattr(module, "EDGES_AT_ONCE", bound)
            assert torch.allclose(gf.predict(model, episode).softmax(1), whole, atol=1e-6)


def test_pieces_hold_no_more_than_the_bound_unless_one_task_does(monkeypatch):
    monkeypatch.setattr(module, "EDGES_AT_ONCE", 10)
    assert [list(p) for p in module._pieces([4, 6, 1, 30, 2, 2, 6, 4, 6])] == [
        [0, 1],
        [2],
        [3],
        [4, 5, 6],
        [7, 8],
    ]


@pytest.mark.parametrize("declared", [True, False])
def test_modes_gradients_and_statistics_come_back_after_an_error(declared):
    model = egnn(encoder=Normed()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def fail():
        with gf.nn.eval_mode(model, transductive_bn=declared):
            assert not torch.is_grad_enabled()
            assert not model.layers.training
            assert model.encoder.norm.training is declared
            model.encode(TASKS.batch([0])[0])
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fail()
    assert torch.is_grad_enabled()
    assert all(m.training for m in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def peeking_readout(graph):
    """Each query's answer, less the mean of all queries' features."""
    queries = graph.nodes[: len(graph.episode.y)][graph.episode.query]
    return (queries - 3 * queries.mean(0))[:, : graph.episode.way[0]]


def own_readout(graph):
    """Each query's own first features."""
    return graph.nodes[: len(graph.episode.y)][graph.episode.query][:, : graph.episode.way[0]]


def hand_built(readout, encoder=None, **options):
    """No layers, complete graphs, and the given readout."""

    def embed(episode):
        topology = gf.complete_graph(episode.sizes)
        return gf.Graph(
            episode.x, episode.x.new_ones(len(topology.receivers), 1), topology, episode
        )

    return gf.GraphMethod(encoder or nn.Identity(), embed, [], readout, **options)


def test_a_readout_that_peeks_is_refused_where_it_claims_to_be_inductive():
    with pytest.raises(gf.evaluation.ContractError, match="other queries are taken away"):
        gf.evaluate(
            hand_built(peeking_readout, transductive=False, independent_queries=True), TASKS, n=3
        )
    assert str(gf.evaluate(hand_built(peeking_readout), TASKS, n=3, batch=1).mode) == "transductive"
    with pytest.raises(gf.evaluation.ContractError, match="another task is in the batch"):
        gf.evaluate(hand_built(peeking_readout), TASKS, n=3)
    # Graphs of one query lie end to end, so that a mean over all of them peeks as well; and so does such an encoder.
    with pytest.raises(gf.evaluation.ContractError, match="other queries are taken away"):
        gf.evaluate(hand_built(peeking_readout, transductive=False), TASKS, n=3)
    assert (
        str(gf.evaluate(hand_built(own_readout, transductive=False), TASKS, n=3).mode)
        == "inductive"
    )
    with pytest.raises(gf.evaluation.ContractError, match="other queries are taken away"):
        gf.evaluate(hand_built(own_readout, encoder=Peeking(), transductive=False), TASKS, n=3)


@pytest.mark.parametrize(
    ("readout", "encoder"), [("peeking_readout", nn.Identity()), ("own_readout", Ordered())]
)
def test_a_model_that_is_unsure_of_everything_is_held_to_the_same_rules(readout, encoder):
    """The answers, and so the accuracy, are those of a model that is refused; only the temperature differs."""
    model = hand_built(
        lambda graph: 1e-4 * globals()[readout](graph),
        encoder=encoder,
        transductive=False,
        independent_queries=True,
    )
    with pytest.raises(gf.evaluation.ContractError):
        gf.evaluate(model, TASKS, n=3)


def test_answers_that_are_no_numbers_are_refused():
    model = hand_built(lambda graph: peeking_readout(graph) * torch.nan)
    with pytest.raises(gf.evaluation.ContractError, match="by nan"):
        gf.evaluate(model, TASKS, n=3)


def test_a_model_built_by_hand_says_so():
    result = gf.evaluate(hand_built(own_readout), TASKS, n=2)
    assert result.model == {"method": "custom", "encoder": "Identity", "input": [4]}
    json.dumps(result.to_json())


def test_an_answer_that_depends_on_the_other_tasks_of_the_batch_is_refused():
    with pytest.raises(gf.evaluation.ContractError):
        gf.evaluate(egnn(True, Peeking()), TASKS, n=16, batch=8)


def test_declared_batch_norm_does_not_excuse_a_model_that_reads_the_order():
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(egnn(True, Ordered()), TASKS, n=3, transductive_bn=True)


def given(*accuracies):
    return gf.Result(0.0, 0.0, accuracies, EvaluationMode(transductive=True), {}, {}, "cpu")


def test_a_constant_gap_is_certain():
    comparison = gf.compare_results(given(0.75, 1.0, 0.5), given(0.25, 0.5, 0.0))
    assert (comparison.difference, comparison.half_width, comparison.p_value) == (0.5, 0, 0)


def test_a_constant_gap_is_certain_whatever_its_rounding():
    comparison = gf.compare_results(given(0.6, 0.8, 1.0), given(0.4, 0.6, 0.8))
    assert comparison.p_value == 0


def test_the_calibration_error_by_hand():
    """Three answers at 0.9 of which two are right, two at 0.5 (a bin's upper edge is its own) of which both are."""
    confidence = torch.tensor([0.9, 0.9, 0.9, 0.5, 0.5])
    right = torch.tensor([True, True, False, True, True])
    expected = 3 / 5 * abs(2 / 3 - 0.9) + 2 / 5 * abs(1 - 0.5)
    assert gf.evaluation.calibration_error(confidence, right, bins=10) == pytest.approx(
        expected, abs=1e-7
    )
    assert (
        gf.evaluation.calibration_error(torch.tensor([1.0, 1.0]), torch.tensor([True, True])) == 0
    )
    assert (
        gf.evaluation.calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([True, False])) == 1
    )


def test_a_result_carries_the_calibration_error_of_all_its_decisions():
    model = egnn()
    result = gf.evaluate(model, TASKS, n=4, batch=3)
    with gf.nn.eval_mode(model):
        parts = [
            (model(e).logits.softmax(1).max(1), target)
            for e, target in (TASKS.batch([i]) for i in range(4))
        ]
    sure = torch.cat([best.values for best, _ in parts])
    right = torch.cat([best.indices == target for best, target in parts])
    assert result.calibration_error == pytest.approx(
        gf.evaluation.calibration_error(sure, right), abs=1e-6
    )
    assert json.loads(json.dumps(result.to_json()))["calibration_error"] == result.calibration_error
