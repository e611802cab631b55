"""The benchmark of single episodes measures every method from tensors to logits."""

import torch

from benchmarks.speed import latency


def test_every_method_has_times_and_the_same_predictions_in_both_forms():
    result = latency.measure(repeats=1, n_calls=1, dim=8)
    assert set(result["methods"]) == {"prototypical", "simpleshot", "bd_cspn"}
    for row in result["methods"].values():
        assert all(value > 0 for value in row["milliseconds"].values())
    for forms in latency.calls(dim=8).values():
        from_tensors, from_episode = (call() for call in list(forms.values())[:2])
        assert torch.equal(from_tensors, from_episode)


def test_a_library_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(latency.importlib.util, "find_spec", lambda name: None)
    assert latency.easyfsl_class("simple_shot", "SimpleShot") is None
    assert set(latency.calls(dim=8)["simpleshot"]) == {"graphfew", "graphfew, existing episode"}
