"""Training: the same seed gives the same weights, and a stop in between changes nothing."""

import pytest
import torch
from sources import Gaussians

import graphfew as gf

TASKS = Gaussians()


def model(p=0.3):
    """EGNN with torch's initial weights, which answers at chance before it learns."""
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=2, width=6, p=p, pull=None)


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
    optimizer = gf.training.adam(parts)
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
    optimizer = gf.training.adam(m)
    rate = gf.training.step_decay(1e-2, 2)
    seen = [
        optimizer.param_groups[0]["lr"]
        for _ in gf.train(
            m, TASKS, loss=gf.edge_loss, batch=1, steps=5, lr=rate, optimizer=optimizer
        )
    ]
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
    for wrong in ({"steps": 0}, {"start": -1}):
        with pytest.raises(ValueError, match=r"steps must be at least 1, start at least 0"):
            gf.train(model(), TASKS, loss=gf.edge_loss, **wrong)
    with pytest.raises(ValueError, match="no trainable weights"):
        gf.train(
            gf.create("prototypical", encoder=gf.backbones.identity(4)), TASKS, loss=gf.node_loss
        )


class Asked:
    """Keeps the numbers of the tasks that were asked for."""

    def __init__(self):
        self.seen = []

    def batch(self, indices):
        self.seen.append(indices)
        return TASKS.batch(indices)


def test_step_k_sees_its_own_tasks_and_its_own_rate():
    m, tasks, steps = model(), Asked(), []
    optimizer = gf.training.adam(m, lr=5.0)
    for _ in gf.train(
        m,
        tasks,
        loss=gf.edge_loss,
        batch=3,
        start=2,
        steps=4,
        optimizer=optimizer,
        lr=lambda step: steps.append(step) or 1e-3 * step,
    ):
        pass
    assert tasks.seen == [range(6, 9), range(9, 12)]
    assert set(steps) == {2, 3}
    assert optimizer.param_groups[0]["lr"] == 3e-3


def test_a_step_tells_the_loss_before_its_update_and_the_accuracy():
    m = model(0.0)
    untouched = model(0.0).train()
    episode, target = TASKS.batch(range(2))
    out = untouched(episode)
    step = next(gf.train(m, TASKS, loss=gf.edge_loss, batch=2))
    assert step.index == 0
    assert step.loss == pytest.approx(gf.edge_loss(out, target).item())
    assert step.accuracy == pytest.approx((out.logits.argmax(1) == target).float().mean().item())


def test_global_randomness_is_left_alone_between_steps_and_after_an_error():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    steps = gf.train(model(), TASKS, loss=gf.edge_loss, batch=2, steps=3)
    next(steps)
    assert torch.equal(torch.rand(2), expected)
    torch.manual_seed(3)
    with pytest.raises(FloatingPointError, match="inf at step 0"):
        next(
            gf.train(
                model(), TASKS, loss=lambda out, target: out.logits.sum() * 0 + torch.inf, batch=2
            )
        )
    assert torch.equal(torch.rand(2), expected)


def test_what_the_caller_draws_between_steps_changes_nothing():
    quiet, noisy = model(), model()
    run(quiet, 3)
    for step in gf.train(noisy, TASKS, loss=gf.edge_loss, batch=2, steps=3):
        torch.manual_seed(step.index + 50)
        torch.rand(3)
        noisy.eval()
    assert same(state(quiet), state(noisy))


def test_randomness_is_of_the_seed_and_the_step():
    def drawn(**options):
        seen = []
        for _ in gf.train(
            model(),
            TASKS,
            batch=1,
            **options,
            loss=lambda out, target: seen.append(torch.rand(1).item()) or gf.edge_loss(out, target),
        ):
            pass
        return seen

    whole = drawn(steps=4)
    assert len({*whole, *drawn(steps=4, seed=1)}) == 8
    assert drawn(steps=4, start=2) == whole[2:]
