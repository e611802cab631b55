"""A frozen encoder stays as its checkpoint had it, and the run is otherwise like any other."""

import pytest
import torch
from small_runs import OPTIONS, same_files, stopping_after

import graphfew as gf
from graphfew import runs


@pytest.fixture
def options(whole):
    return {**OPTIONS, "seed": 5, "init_encoder": str(whole), "freeze_encoder": True}


def test_layers_learn_and_the_encoder_does_not(options, whole, tmp_path):
    runs.execute(runs.prepare(tmp_path / "run", options))
    source, model = gf.load(whole / "best"), gf.load(tmp_path / "run" / "last")
    own, given = model.encoder.state_dict(), source.encoder.state_dict()
    assert own.keys() == given.keys()
    assert all(torch.equal(own[name], given[name]) for name in own)
    fresh = gf.create("egnn", encoder=model.encoder, seed=5, layers=1, width=8, p=0.3)
    trained = zip(model.layers.parameters(), fresh.layers.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in trained)
    assert model.provenance["encoder_frozen"] is True


def test_it_resumes_as_if_it_had_not_stopped(options, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.execute(runs.prepare(whole, options))
    with pytest.raises(runs.Interrupted):
        runs.execute(runs.prepare(parts, options), stop=stopping_after(4))
    runs.execute(runs.reopen(parts, {}))
    assert all(same_files(whole, parts).values())


def test_there_has_to_be_something_to_freeze(tmp_path):
    with pytest.raises(ValueError, match="give its checkpoint as init_encoder"):
        runs.prepare(tmp_path / "run", {**OPTIONS, "freeze_encoder": True})
    assert not (tmp_path / "run").exists()
