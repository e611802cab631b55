"""Evaluation modes of a method: a saved model loads in its mode and predicts the same."""

import pytest
import torch
from episodes import task

import graphfew as gf
from graphfew.errors import InvalidInputError

TRANSDUCTIVE_ONLY = sorted(
    name for name, spec in gf.METHODS.items() if spec.transductive and not spec.inductive
)


def create(name, **arguments):
    return gf.create(name, encoder=gf.backbones.identity(5), **arguments).eval()


@pytest.mark.parametrize("name", TRANSDUCTIVE_ONLY)
def test_in_mode_rejects_a_mode_that_the_registry_does_not_list(name):
    model = create(name)
    for method in (model, model.on_features(), model.in_mode(unlabeled=False)):
        with pytest.raises(InvalidInputError, match="has no inductive mode"):
            method.in_mode(transductive=False)
        assert method.in_mode(transductive=True).transductive


@pytest.mark.parametrize("name", ["egnn", "label_propagation", "pool_prototypes"])
def test_a_model_in_its_other_mode_loads_and_predicts_the_same(name, tmp_path):
    model = create(name)
    other = model.in_mode(transductive=not model.transductive).eval()
    loaded = gf.load(gf.save(other, tmp_path / name)).eval()
    assert loaded.transductive is other.transductive
    episode = task(1, 3, (2,), 4).to(torch.float32)
    assert torch.equal(loaded(episode).logits, other(episode).logits)


def test_a_checkpoint_keeps_that_unlabeled_nodes_are_removed(tmp_path):
    model = create("soft_k_means")
    without = model.in_mode(unlabeled=False).eval()
    loaded = gf.load(gf.save(without, tmp_path / "without")).eval()
    assert loaded.unlabeled is False
    assert loaded.spec == without.spec
    episode = task(1, 3, (2,), 4, unlabeled=3).to(torch.float32)
    assert torch.equal(loaded(episode).logits, without(episode).logits)
    assert not torch.equal(loaded(episode).logits, model(episode).logits)
    assert loaded.in_mode(unlabeled=True).spec == model.spec


def test_batch_norm_without_running_statistics_is_rejected():
    encoder = torch.nn.Sequential(torch.nn.BatchNorm1d(5, track_running_stats=False))
    with pytest.raises(gf.evaluation.ContractError, match="has no running statistics"):
        gf.nn.check_running_statistics(encoder)
    gf.nn.check_running_statistics(torch.nn.BatchNorm1d(5))
