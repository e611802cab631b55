"""The benchmark of MAML: both forms predict the same, and tiny runs have all rows."""

import torch

import graphfew as gf
from benchmarks.speed import maml


def test_the_plain_loop_predicts_as_the_library():
    episode, target = maml.batch(tasks=2, queries=2)
    model = maml.model(3, width=4, batch_norm=gf.nn.transductive_moments)
    plain = maml.PlainLoop(model, 3)
    actual, expected = model(episode).logits, plain(episode)
    assert torch.allclose(actual, expected, atol=1e-3)
    gradients = [
        torch.autograd.grad(torch.nn.functional.cross_entropy(logits, target), weight)[0]
        for logits, weight in (
            (actual, model.encoder.net[1].weight),
            (expected, plain.net[0].net[1].weight),
        )
    ]
    assert torch.allclose(*gradients, atol=1e-2 * float(gradients[1].abs().max()))
    assert isinstance(model, gf.GraphMethod)


def test_a_tiny_run_has_all_rows():
    result = maml.measure(1, steps=1, width=2, tasks=1, queries=1)
    forms = {"graphfew", "graphfew, statistics of the queries"}
    for speedup in result["speedup"].values():
        assert set(speedup) == forms
        assert all(value > 0 for value in speedup.values())
    assert len(result["seconds"]) == 9
