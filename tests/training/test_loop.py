"""Training loop: determinism, resuming, randomness and the state of the model between steps."""

from functools import partial

import pytest
import torch
from sources import Gaussians
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR, StepLR

import graphfew as gf

TASKS = Gaussians()


def build_model(p=0.3):
    """EGNN with PyTorch's initial weights, at chance level before training."""
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=2, width=6, p=p, pull=None)


def weights(m):
    return {name: value.clone() for name, value in m.state_dict().items()}


def equal_weights(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def run(m, steps=4, **options):
    return list(gf.train(m, TASKS, loss=gf.edge_loss, batch=2, steps=steps, **options))


def test_same_seed_gives_same_steps_and_weights():
    a, b, c = build_model(), build_model(), build_model()
    first, second, other = run(a), run(b), run(c, seed=1)
    assert first == second
    assert equal_weights(weights(a), weights(b))
    assert not equal_weights(weights(a), weights(c))
    assert [s.index for s in other] == [0, 1, 2, 3]


def test_resumed_training_equals_uninterrupted_training():
    whole, parts = build_model(), build_model()
    run(whole, 5)
    optimizer = Adam(parts.parameters(), lr=1e-3)
    run(parts, 2, optimizer=optimizer)
    run(parts, 5, optimizer=optimizer, start=2)
    assert equal_weights(weights(whole), weights(parts))


def test_accuracy_improves():
    m = build_model(0.0)
    before = gf.evaluate(m, Gaussians(seed=9), n=60).mean
    run(m, 80, optimizer=partial(Adam, lr=3e-3))
    assert gf.evaluate(m, Gaussians(seed=9), n=60).mean > before + 0.15


def test_global_random_state_is_unchanged():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run(build_model(), 2)
    assert torch.equal(torch.rand(2), expected)


def learning_rates(optimizer, model, **options):
    """The learning rate of each step."""
    steps = gf.train(model, TASKS, loss=gf.edge_loss, batch=1, optimizer=optimizer, **options)
    return [optimizer.param_groups[0]["lr"] for _ in steps]


def test_scheduler_sets_the_learning_rate():
    m = build_model()
    optimizer = Adam(m.parameters(), lr=1e-2)
    scheduler = partial(StepLR, step_size=2, gamma=0.5)
    rates = learning_rates(optimizer, m, steps=5, scheduler=scheduler)
    assert rates == [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3]
    resumed = learning_rates(optimizer, m, steps=5, start=3, scheduler=scheduler)
    assert resumed == rates[3:]


def test_evaluation_between_steps_changes_nothing():
    plain, evaluated = build_model(), build_model()
    run(plain, 3)
    for _ in gf.train(evaluated, TASKS, loss=gf.edge_loss, batch=2, steps=3):
        gf.evaluate(evaluated, Gaussians(seed=5), n=2)
    assert equal_weights(weights(plain), weights(evaluated))


def test_non_finite_loss_raises_before_the_update():
    m = build_model()
    before = [p.clone() for p in m.parameters()]
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        next(gf.train(m, TASKS, loss=lambda out, target: gf.edge_loss(out, target) * float("nan")))
    assert all(torch.equal(a, b) for a, b in zip(before, m.parameters(), strict=True))


def test_invalid_arguments_raise_at_the_call():
    with pytest.raises(ValueError, match="batch=0"):
        gf.train(build_model(), TASKS, loss=gf.edge_loss, batch=0)
    for wrong in ({"steps": 0}, {"start": -1}):
        with pytest.raises(ValueError, match=r"steps must be at least 1, start at least 0"):
            gf.train(build_model(), TASKS, loss=gf.edge_loss, **wrong)
    with pytest.raises(ValueError, match="no trainable parameters"):
        gf.train(
            gf.create("prototypical", encoder=gf.backbones.identity(4)), TASKS, loss=gf.node_loss
        )


class RecordedTasks:
    """Tasks that record the requested indices."""

    def __init__(self):
        self.indices = []

    def batch(self, indices):
        self.indices.append(indices)
        return TASKS.batch(indices)


def test_step_k_uses_its_own_tasks_and_learning_rate():
    m, tasks = build_model(), RecordedTasks()
    optimizer = Adam(m.parameters(), lr=1e-3)
    training = gf.train(
        m,
        tasks,
        loss=gf.edge_loss,
        batch=3,
        start=2,
        steps=4,
        optimizer=optimizer,
        scheduler=partial(LambdaLR, lr_lambda=lambda step: step),
    )
    rates = [optimizer.param_groups[0]["lr"] for _ in training]
    assert tasks.indices == [range(6, 9), range(9, 12)]
    assert rates == [2e-3, 3e-3]


def test_step_has_loss_and_accuracy_before_the_update():
    m = build_model(0.0)
    untrained = build_model(0.0).train()
    episode, target = TASKS.batch(range(2))
    out = untrained(episode)
    step = next(gf.train(m, TASKS, loss=gf.edge_loss, batch=2))
    assert step.index == 0
    assert step.loss == pytest.approx(gf.edge_loss(out, target).item())
    assert step.accuracy == pytest.approx((out.logits.argmax(1) == target).float().mean().item())


def test_global_random_state_is_unchanged_between_steps_and_after_an_error():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    steps = gf.train(build_model(), TASKS, loss=gf.edge_loss, batch=2, steps=3)
    next(steps)
    assert torch.equal(torch.rand(2), expected)
    torch.manual_seed(3)
    with pytest.raises(FloatingPointError, match="inf at step 0"):
        next(
            gf.train(
                build_model(),
                TASKS,
                loss=lambda out, target: out.logits.sum() * 0 + torch.inf,
                batch=2,
            )
        )
    assert torch.equal(torch.rand(2), expected)


def test_random_draws_between_steps_change_nothing():
    plain, noisy = build_model(), build_model()
    run(plain, 3)
    for step in gf.train(noisy, TASKS, loss=gf.edge_loss, batch=2, steps=3):
        torch.manual_seed(step.index + 50)
        torch.rand(3)
        noisy.eval()
    assert equal_weights(weights(plain), weights(noisy))


def test_randomness_depends_on_seed_and_step_only():
    def draw(**options):
        values = []
        for _ in gf.train(
            build_model(),
            TASKS,
            batch=1,
            **options,
            loss=lambda out, target: (
                values.append(torch.rand(1).item()) or gf.edge_loss(out, target)
            ),
        ):
            pass
        return values

    whole = draw(steps=4)
    assert len({*whole, *draw(steps=4, seed=1)}) == 8
    assert draw(steps=4, start=2) == whole[2:]


def test_model_is_unpatched_between_steps():
    m = build_model().eval()
    edge_mlps = [module for module in m.modules() if hasattr(module, "recompute")]
    assert edge_mlps
    training_modes, recompute = [], []

    def loss(output, target):
        training_modes.append(m.training)
        recompute.append({mlp.recompute for mlp in edge_mlps})
        return gf.edge_loss(output, target)

    options = {"loss": loss, "batch": 2, "steps": 2, "checkpoint_activations": True}
    for _ in gf.train(m, TASKS, **options):
        assert not m.training
        assert not any(mlp.recompute for mlp in edge_mlps)
    assert training_modes == [True, True]
    assert recompute == [{True}, {True}]
