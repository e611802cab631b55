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

# The package has a function of the same name.
module = importlib.import_module("graphfew.evaluate")
TASKS = Gaussians(query=3)


def egnn(transductive=True, encoder=None):
    return gf.create("egnn", encoder=encoder or gf.backbones.identity(4), dim=4, layers=2, width=6,
                     transductive=transductive)


def test_the_mean_and_its_interval_are_those_of_per_task_accuracies():
    model = egnn()
    result = gf.evaluate(model, TASKS, n=7)
    own = []
    with gf.evaluating(model):
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
    assert comparison.difference == pytest.approx(np.mean(comparison.a.per_task) - np.mean(comparison.b.per_task))
    assert comparison.p_value == pytest.approx(test.pvalue)
    assert comparison.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_a_model_compared_with_itself_is_no_better():
    comparison = gf.compare(egnn(), egnn(), TASKS, n=5)
    assert (comparison.difference, comparison.half_width, comparison.p_value) == (0, 0, 1)


def test_results_of_different_tasks_are_not_compared():
    a, b = gf.evaluate(egnn(), TASKS, n=4), gf.evaluate(egnn(), Gaussians(query=3, seed=1), n=4)
    for other in (b, gf.evaluate(egnn(), TASKS, n=5)):
        with pytest.raises(ValueError, match="different tasks"):
            gf.paired(a, other)


@pytest.mark.parametrize("transductive", [True, False])
def test_working_in_pieces_changes_nothing(monkeypatch, transductive):
    model = egnn(transductive)
    episode, _ = TASKS.batch(range(5))
    with gf.evaluating(model):
        whole = model(episode).logits
        for bound in (1, 40, 200):
            monkeypatch.setattr(module, "EDGES_AT_ONCE", bound)
            assert torch.allclose(gf.predict(model, episode).softmax(1), whole.softmax(1), atol=1e-6)


def test_pieces_of_different_ways_are_padded(monkeypatch):
    model = egnn()
    episode = gf.collate([Gaussians(way=2).task(0)[0], Gaussians(way=4).task(0)[0]])
    monkeypatch.setattr(module, "EDGES_AT_ONCE", 1)
    with gf.evaluating(model):
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
    assert declared.mode == "transductive, transductive batch norm"
    assert model.training
    assert not model.encoder.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_declared_batch_norm_uses_each_task_alone():
    model = egnn(encoder=Normed())
    episode, _ = TASKS.batch([0])
    with gf.evaluating(model, transductive_bn=True):
        seen = model.encode(episode).x
    assert torch.allclose(seen.mean(0), torch.zeros(4), atol=1e-5)


def test_batch_norm_that_looks_at_the_test_batch_is_refused_unless_declared():
    model = egnn(encoder=Normed(track_running_stats=False))
    with pytest.raises(gf.ContractError, match="transductive_bn=True"):
        gf.evaluate(model, TASKS, n=3)
    assert gf.evaluate(model, TASKS, n=3, transductive_bn=True).mode.endswith("transductive batch norm")


class Peeking(nn.Module):
    """Centres items on all items of the batch, queries included."""

    def forward(self, x):
        return x - 3 * x.mean(0)


class Ordered(nn.Module):
    """Adds each item's place in the batch."""

    def forward(self, x):
        return x * (1 + torch.arange(len(x))[:, None])


@pytest.mark.parametrize("transductive", [True, False])
def test_a_model_that_reads_the_order_is_refused(transductive):
    model = egnn(transductive, Ordered())
    with pytest.raises(gf.ContractError, match="another order"):
        gf.evaluate(model, TASKS, n=3)


def test_an_inductive_model_that_peeks_is_refused():
    cosine = gf.create("prototypical", encoder=Peeking(), dim=4, metric=gf.cosine, scale=10.0)
    with pytest.raises(gf.ContractError, match="other queries are taken away"):
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


def test_unlabelled_nodes_make_it_semi_supervised():
    data = gf.data.arrays(np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32), np.arange(40) % 4)
    tasks = gf.Tasks(data, way=3, query=2, unlabelled=2)
    assert gf.evaluate(egnn(False), tasks, n=2).mode == "semi-supervised, inductive"


@pytest.mark.parametrize("options", [{"n": 1}, {"n": 5, "batch": 0}])
def test_an_interval_needs_two_tasks(options):
    with pytest.raises(ValueError, match="n >= 2"):
        gf.evaluate(egnn(), TASKS, **options)


def test_a_mode_may_be_changed_with_shared_weights():
    model = egnn()
    alone = model.in_mode(transductive=False)
    assert alone.recipe.arguments["transductive"] is False
    assert alone.provenance["trained_mode"] == "transductive"
    assert all(a is b for a, b in zip(alone.parameters(), model.parameters(), strict=True))
    assert gf.evaluate(alone, TASKS, n=3).mode == "inductive"
    with pytest.raises(ValueError, match="no transductive mode"):
        gf.create("prototypical", encoder=gf.backbones.identity(4)).in_mode(transductive=True)
