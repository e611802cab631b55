"""Training: the same seed gives the same weights, and a stop in between changes nothing."""

import pytest
import torch
from sources import Gaussians

import graphfew as gf

TASKS = Gaussians()


def model(p=0.3):
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=2, width=6, p=p)


def state(m):
    return {name: value.clone() for name, value in m.state_dict().items()}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def run(m, steps=4, **options):
    return list(gf.train(m, TASKS, loss=gf.edge_loss, batch=2, steps=steps, **options))


def test_the_same_seed_gives_the_same_steps_and_weights():
    a, b, c = model(), model(), model()
    first, second, other = run(a), run(b), run(c, seed=1)
    assert first == second
    assert same(state(a), state(b))
    assert not same(state(a), state(c))
    assert [s.index for s in other] == [0, 1, 2, 3]


def test_going_on_equals_not_having_stopped():
    whole, parts = model(), model()
    run(whole, 5)
    optimizer = gf.adam(parts)
    run(parts, 2, optimizer=optimizer)
    run(parts, 5, optimizer=optimizer, start=2)
    assert same(state(whole), state(parts))


def test_it_learns():
    m = model(0.0)
    before = gf.evaluate(m, Gaussians(seed=9), n=60).mean
    run(m, 80, lr=3e-3)
    assert gf.evaluate(m, Gaussians(seed=9), n=60).mean > before + 0.15


def test_global_randomness_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run(model(), 2)
    assert torch.equal(torch.rand(2), expected)


def test_the_learning_rate_is_followed():
    m = model()
    optimizer = gf.adam(m)
    rate = gf.halve_every(1e-2, 2)
    seen = [optimizer.param_groups[0]["lr"] for _ in gf.train(m, TASKS, loss=gf.edge_loss, batch=1, steps=5, lr=rate,
                                                              optimizer=optimizer)]
    assert seen == [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3]


def test_evaluating_between_steps_changes_nothing():
    quiet, watched = model(), model()
    run(quiet, 3)
    for _ in gf.train(watched, TASKS, loss=gf.edge_loss, batch=2, steps=3):
        gf.evaluate(watched, Gaussians(seed=5), n=2)
    assert same(state(quiet), state(watched))


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    m = model()
    before = [p.clone() for p in m.parameters()]
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        next(gf.train(m, TASKS, loss=lambda out, target: gf.edge_loss(out, target) * float("nan")))
    assert all(torch.equal(a, b) for a, b in zip(before, m.parameters(), strict=True))


def test_faults_are_raised_at_the_call():
    with pytest.raises(ValueError, match="batch=0"):
        gf.train(model(), TASKS, loss=gf.edge_loss, batch=0)
    with pytest.raises(ValueError, match="no trainable weights"):
        gf.train(gf.create("prototypical", encoder=gf.backbones.identity(4)), TASKS, loss=gf.node_loss)
