"""Evaluation: arithmetic, restoration of the model's state, and violations of the contract."""

import inspect
import json

import numpy as np
import pytest
import torch
from scipy import stats
from sources import Gaussians
from torch import nn

import graphfew as gf
from graphfew.evaluation import EvaluationMode, prediction

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


def test_mean_and_interval_match_per_task_accuracies():
    model = egnn()
    result = gf.evaluate(model, TASKS, n=7)
    expected = []
    with gf.nn.eval_mode(model):
        for i in range(7):
            episode, target = TASKS.task(i)
            expected.append(float((model(episode).logits.argmax(1) == target).double().mean()))
    assert result.per_task == pytest.approx(expected)
    assert result.mean == pytest.approx(np.mean(expected))
    low, high = stats.t.interval(0.95, 6, loc=np.mean(expected), scale=stats.sem(expected))
    assert result.half_width == pytest.approx((high - low) / 2)


def test_interval_matches_hand_computed_value():
    # sd 1, n 4, t(0.975, 3) = 3.182446
    mean, half = gf.evaluation.t_interval([1.0, 1.0, 3.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(3.182446 * (4 / 3) ** 0.5 / 2, rel=1e-6))


def test_comparison_matches_scipy():
    model, other = egnn(), gf.create("prototypical", encoder=gf.backbones.identity(4))
    comparison = gf.compare(model, other, TASKS, n=20)
    test = stats.ttest_rel(comparison.a.per_task, comparison.b.per_task)
    interval = test.confidence_interval()
    assert comparison.difference == pytest.approx(
        np.mean(comparison.a.per_task) - np.mean(comparison.b.per_task)
    )
    assert comparison.p_value == pytest.approx(test.pvalue)
    assert comparison.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_comparison_of_a_model_with_itself():
    comparison = gf.compare(egnn(), egnn(), TASKS, n=5)
    assert (comparison.difference, comparison.half_width, comparison.p_value) == (0, 0, 1)


def test_results_of_different_tasks_are_rejected():
    a, b = gf.evaluate(egnn(), TASKS, n=4), gf.evaluate(egnn(), Gaussians(query=3, seed=1), n=4)
    for other in (b, gf.evaluate(egnn(), TASKS, n=5)):
        with pytest.raises(ValueError, match="different tasks"):
            gf.compare_results(a, other)


@pytest.mark.parametrize("transductive", [True, False])
def test_chunked_prediction_equals_forward(monkeypatch, transductive):
    model = egnn(transductive)
    episode, _ = TASKS.batch(range(5))
    with gf.nn.eval_mode(model):
        whole = model(episode).logits
        for bound in (1, 40, 200):
            monkeypatch.setattr(prediction, "MAX_EDGES", bound)
            assert torch.allclose(
                gf.predict(model, episode).softmax(1), whole.softmax(1), atol=1e-6
            )


def test_chunks_of_different_ways_are_padded(monkeypatch):
    model = egnn()
    episode = gf.collate([Gaussians(way=2).task(0)[0], Gaussians(way=4).task(0)[0]])
    monkeypatch.setattr(prediction, "MAX_EDGES", 1)
    with gf.nn.eval_mode(model):
        logits = gf.predict(model, episode)
    assert logits.shape == (12, 4)
    assert torch.isneginf(logits[:4, 2:]).all()


def test_progress_reports_number_of_tasks():
    seen = []
    gf.evaluate(egnn(), TASKS, n=7, batch=3, progress=seen.append)
    assert seen == [3, 6, 7]


class BatchNormEncoder(nn.Module):
    """Batch norm over features."""

    def __init__(self, **options):
        super().__init__()
        self.norm = nn.BatchNorm1d(4, **options)

    def forward(self, x):
        return self.norm(x)


def test_module_modes_and_running_statistics_are_restored():
    model = egnn(encoder=BatchNormEncoder())
    model.train()
    model.encoder.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gf.evaluate(model, TASKS, n=3)
    declared = gf.evaluate(model, TASKS, n=3, transductive_bn=True)
    assert str(declared.mode) == "transductive, transductive batch norm"
    assert model.training
    assert not model.encoder.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_transductive_bn_uses_statistics_of_each_task():
    model = egnn(encoder=BatchNormEncoder())
    episode, _ = TASKS.batch([0])
    with gf.nn.eval_mode(model, transductive_bn=True):
        seen = model.encode(episode).x
    assert torch.allclose(seen.mean(0), torch.zeros(4), atol=1e-5)


def test_batch_statistics_are_rejected_unless_declared():
    model = egnn(encoder=BatchNormEncoder(track_running_stats=False))
    with pytest.raises(gf.evaluation.ContractError, match="transductive_bn=True"):
        gf.evaluate(model, TASKS, n=3)
    assert gf.evaluate(model, TASKS, n=3, transductive_bn=True).mode.transductive_bn


class LeakyEncoder(nn.Module):
    """Centers items on all items of the batch, queries included."""

    def forward(self, x):
        return x - 3 * x.mean(0)


class OrderDependentEncoder(nn.Module):
    """Scales each item by its position in the batch."""

    def forward(self, x):
        return x * (1 + torch.arange(len(x))[:, None])


@pytest.mark.parametrize("transductive", [True, False])
def test_order_dependent_encoder_violates_contract(transductive):
    model = egnn(transductive, OrderDependentEncoder())
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(model, TASKS, n=3)


def test_ordered_methods_may_depend_on_support_order_only():
    ordered = gf.create("matching_fce", encoder=gf.backbones.identity(4))
    assert 0 < gf.evaluate(ordered, TASKS, n=3).mean <= 1
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(gf.create("matching_fce", encoder=OrderDependentEncoder(), dim=4), TASKS, n=3)
    ordered.node_order_matters = False
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(ordered, TASKS, n=3)


def test_leaky_inductive_model_violates_contract():
    cosine = gf.create(
        "prototypical", encoder=LeakyEncoder(), dim=4, metric=gf.nn.cosine, scale=10.0
    )
    with pytest.raises(gf.evaluation.ContractError, match="other queries are removed"):
        gf.evaluate(cosine, TASKS, n=3)


def test_result_contains_protocol_and_converts_to_json():
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


def test_mode_of_tasks_with_unlabeled_nodes():
    data = gf.data.arrays(
        np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32), np.arange(40) % 4
    )
    tasks = gf.Tasks(data, way=3, query=2, unlabeled=2)
    assert str(gf.evaluate(egnn(False), tasks, n=2).mode) == "semi-supervised, inductive"


@pytest.mark.parametrize("options", [{"n": 1}, {"n": 5, "batch": 0}])
def test_fewer_than_two_tasks_are_rejected(options):
    with pytest.raises(ValueError, match="n >= 2"):
        gf.evaluate(egnn(), TASKS, **options)


def test_in_mode_shares_weights():
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
def test_result_does_not_depend_on_chunks_or_batches(monkeypatch, transductive, bound):
    model = egnn(transductive)
    whole = gf.evaluate(model, TASKS, n=6)
    monkeypatch.setattr(prediction, "MAX_EDGES", bound)
    for batch in (1, 4):
        assert gf.evaluate(model, TASKS, n=6, batch=batch).per_task == whole.per_task


@pytest.mark.parametrize("transductive", [True, False])
def test_chunks_of_mixed_tasks_keep_query_order(monkeypatch, transductive):
    model = egnn(transductive)
    episode = gf.collate(
        [Gaussians(way=3, shot=s, query=q, seed=s).task(0)[0] for s, q in ((1, 1), (3, 2), (2, 4))]
    )
    with gf.nn.eval_mode(model):
        whole = model(episode).logits.softmax(1)
        for bound in (1, 150, 10_000):
            monkeypatch.setattr(prediction, "MAX_EDGES", bound)
            assert torch.allclose(gf.predict(model, episode).softmax(1), whole, atol=1e-6)


def test_chunk_cost_is_bounded_except_for_single_tasks(monkeypatch):
    monkeypatch.setattr(prediction, "MAX_EDGES", 10)
    assert [list(p) for p in prediction._chunks([4, 6, 1, 30, 2, 2, 6, 4, 6])] == [
        [0, 1],
        [2],
        [3],
        [4, 5, 6],
        [7, 8],
    ]


@pytest.mark.parametrize("declared", [True, False])
def test_state_is_restored_after_an_error(declared):
    model = egnn(encoder=BatchNormEncoder()).train()
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


def leaky_readout(graph):
    """First features of each query minus the mean over all queries."""
    queries = graph.nodes[: len(graph.episode.y)][graph.episode.query]
    return (queries - 3 * queries.mean(0))[:, : graph.episode.way[0]]


def feature_readout(graph):
    """First features of each query."""
    return graph.nodes[: len(graph.episode.y)][graph.episode.query][:, : graph.episode.way[0]]


def custom_model(readout, encoder=None, **options):
    """No layers, complete graphs, and the given readout."""

    def embed(episode):
        topology = gf.complete_graph(episode.sizes)
        return gf.Graph(
            episode.x, episode.x.new_ones(len(topology.receivers), 1), topology, episode
        )

    return gf.GraphMethod(encoder or nn.Identity(), embed, [], readout, **options)


def test_leaky_readout_violates_inductive_contract():
    with pytest.raises(gf.evaluation.ContractError, match="other queries are removed"):
        gf.evaluate(
            custom_model(leaky_readout, transductive=False, independent_queries=True), TASKS, n=3
        )
    assert str(gf.evaluate(custom_model(leaky_readout), TASKS, n=3, batch=1).mode) == "transductive"
    with pytest.raises(gf.evaluation.ContractError, match="another task is in the batch"):
        gf.evaluate(custom_model(leaky_readout), TASKS, n=3)
    # Single-query graphs are batched end to end, so a mean over the batch leaks too.
    with pytest.raises(gf.evaluation.ContractError, match="other queries are removed"):
        gf.evaluate(custom_model(leaky_readout, transductive=False), TASKS, n=3)
    assert (
        str(gf.evaluate(custom_model(feature_readout, transductive=False), TASKS, n=3).mode)
        == "inductive"
    )
    with pytest.raises(gf.evaluation.ContractError, match="other queries are removed"):
        gf.evaluate(
            custom_model(feature_readout, encoder=LeakyEncoder(), transductive=False), TASKS, n=3
        )


@pytest.mark.parametrize(
    ("readout", "encoder"),
    [("leaky_readout", nn.Identity()), ("feature_readout", OrderDependentEncoder())],
)
def test_contract_tolerance_scales_with_confidence(readout, encoder):
    """Nearly uniform predictions leak as much; only the temperature differs."""
    model = custom_model(
        lambda graph: 1e-4 * globals()[readout](graph),
        encoder=encoder,
        transductive=False,
        independent_queries=True,
    )
    with pytest.raises(gf.evaluation.ContractError):
        gf.evaluate(model, TASKS, n=3)


def test_nan_predictions_violate_contract():
    model = custom_model(lambda graph: leaky_readout(graph) * torch.nan)
    with pytest.raises(gf.evaluation.ContractError, match="by nan"):
        gf.evaluate(model, TASKS, n=3)


def test_custom_model_is_described_as_custom():
    result = gf.evaluate(custom_model(feature_readout), TASKS, n=2)
    assert result.model == {"method": "custom", "encoder": "Identity", "input": [4]}
    json.dumps(result.to_json())


def test_dependence_on_other_tasks_violates_contract():
    with pytest.raises(gf.evaluation.ContractError):
        gf.evaluate(egnn(True, LeakyEncoder()), TASKS, n=16, batch=8)


def test_transductive_bn_still_checks_order():
    with pytest.raises(gf.evaluation.ContractError, match="another order"):
        gf.evaluate(egnn(True, OrderDependentEncoder()), TASKS, n=3, transductive_bn=True)


def result_with(*accuracies):
    return gf.Result(0.0, 0.0, accuracies, EvaluationMode(transductive=True), {}, {}, "cpu")


def test_constant_difference_has_p_value_zero():
    comparison = gf.compare_results(result_with(0.75, 1.0, 0.5), result_with(0.25, 0.5, 0.0))
    assert (comparison.difference, comparison.half_width, comparison.p_value) == (0.5, 0, 0)


def test_constant_difference_with_rounding_has_p_value_zero():
    comparison = gf.compare_results(result_with(0.6, 0.8, 1.0), result_with(0.4, 0.6, 0.8))
    assert comparison.p_value == 0


def test_calibration_error_matches_hand_computed_value():
    """Two of three predictions at 0.9 are correct and both at 0.5, the upper edge of a bin."""
    confidence = torch.tensor([0.9, 0.9, 0.9, 0.5, 0.5])
    correct = torch.tensor([True, True, False, True, True])
    expected = 3 / 5 * abs(2 / 3 - 0.9) + 2 / 5 * abs(1 - 0.5)
    assert gf.evaluation.calibration_error(confidence, correct, n_bins=10) == pytest.approx(
        expected, abs=1e-7
    )
    assert (
        gf.evaluation.calibration_error(torch.tensor([1.0, 1.0]), torch.tensor([True, True])) == 0
    )
    assert (
        gf.evaluation.calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([True, False])) == 1
    )


def test_result_has_calibration_error_of_all_predictions():
    model = egnn()
    result = gf.evaluate(model, TASKS, n=4, batch=3)
    with gf.nn.eval_mode(model):
        parts = [
            (model(e).logits.softmax(1).max(1), target)
            for e, target in (TASKS.batch([i]) for i in range(4))
        ]
    confidence = torch.cat([best.values for best, _ in parts])
    correct = torch.cat([best.indices == target for best, target in parts])
    assert result.calibration_error == pytest.approx(
        gf.evaluation.calibration_error(confidence, correct), abs=1e-6
    )
    assert json.loads(json.dumps(result.to_json()))["calibration_error"] == result.calibration_error


@pytest.mark.parametrize("function", [gf.evaluate, gf.compare])
def test_default_number_of_tasks_is_that_of_the_documentation(function):
    assert inspect.signature(function).parameters["n"].default == 1000


def test_result_round_trips_through_json():
    result = gf.evaluate(egnn(), TASKS, n=3)
    assert gf.Result.from_json(json.loads(json.dumps(result.to_json()))) == result
