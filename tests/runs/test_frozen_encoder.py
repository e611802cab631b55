"""Runs with a frozen encoder."""

import pytest
import torch
from small_runs import OPTIONS, same_files, stop_after

import graphfew as gf
from graphfew import runs


@pytest.fixture
def options(complete_run):
    return {**OPTIONS, "seed": 5, "init_encoder": str(complete_run), "freeze_encoder": True}


def test_only_the_layers_are_trained(options, complete_run, tmp_path):
    runs.execute(runs.prepare(tmp_path / "run", options))
    source, model = gf.load(complete_run / "best"), gf.load(tmp_path / "run" / "last")
    own, given = model.encoder.state_dict(), source.encoder.state_dict()
    assert own.keys() == given.keys()
    assert all(torch.equal(own[name], given[name]) for name in own)
    fresh = gf.create("egnn", encoder=model.encoder, seed=5, layers=1, width=8, p=0.3)
    trained = zip(model.layers.parameters(), fresh.layers.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in trained)
    assert model.provenance["encoder_frozen"] is True


def test_resumes_exactly(options, tmp_path):
    complete_run, parts = tmp_path / "complete_run", tmp_path / "parts"
    runs.execute(runs.prepare(complete_run, options))
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(parts, options), should_stop=stop_after(4))
    runs.execute(runs.resume(parts, {}))
    assert all(same_files(complete_run, parts).values())


def test_freezing_without_a_trained_encoder_raises(tmp_path):
    with pytest.raises(ValueError, match="give its checkpoint as init_encoder"):
        runs.prepare(tmp_path / "run", {**OPTIONS, "freeze_encoder": True})
    assert not (tmp_path / "run").exists()
