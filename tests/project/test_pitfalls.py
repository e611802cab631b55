"""The measured pitfalls, on a few tasks."""

import json

import pytest
import torch

import graphfew as gf
from benchmarks.pitfalls import run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(run, "TASKS", 6)


@pytest.fixture(scope="module")
def model():
    return gf.load("prototypical-omniglot")


def test_matching_predictions_to_labels_never_loses(few, model):
    found = run.matched(model)
    assert list(found) == ["1 per class", "5 per class", "15 per class"]
    assert all(pair["gain"]["mean"] >= 0 for pair in found.values())


def test_overlapping_queries_keep_class_and_supports(model):
    data = gf.data.encode(gf.data.glyphs("test"), model.encoder, progress=False)
    head = gf.create("nearest_neighbor", encoder=gf.backbones.identity(data.x.shape[1]))
    source = gf.Tasks(data, way=5, shot=15, query=5, seed=0)

    class Everything:
        """Chooses the first items of a class, most of which are supports."""

        def choice(self, items, size, replace):
            assert not replace
            return items[:size]

    said, target = run.overlapped(head, data, source.draw(0), Everything())
    assert len(said) == len(target) == 25
    assert torch.bincount(target).tolist() == [5] * 5
    supports = set(source.draw(0).items[source.draw(0).role == 0].tolist())
    asked = [int(i) for c in source.draw(0).classes for i in data.members[c][:5]]
    known = torch.tensor([i in supports for i in asked])
    assert known.any()
    # A query that is a support is its own nearest neighbor.
    order = target.argsort(stable=True)
    assert (said[order][known] == target[order][known]).all()


def test_hidden_labels_that_vote_increase_accuracy(few):
    pair = run.hidden_votes()["a fifth labeled"]
    assert pair["wrong"]["mean"] > pair["right"]["mean"]


def test_correct_procedure_for_hidden_labels_is_the_models_own(few):
    source = run.tasks_of("test", run.SEEDS["test"], shot=5, labeled_ratio=0.2)
    own = gf.evaluate(gf.load("egnn-omniglot"), source, 6)
    assert run.hidden_votes()["a fifth labeled"]["right"]["mean"] == pytest.approx(
        own.mean, abs=1e-6
    )


def test_difference_is_paired():
    found = run.pair([0.5, 0.7], [0.6, 0.8])
    assert found["gain"]["mean"] == pytest.approx(0.1)
    assert found["gain"]["half_width"] == pytest.approx(0, abs=1e-9)


def test_results_match_the_settings_of_the_script():
    content = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    assert (content["setting"], content["seeds"]) == (run.SETTING, run.SEEDS)
