"""Learning-rate schedules of runs, and the exponential moving average of weights."""

import math

import pytest
import torch
from torch import nn

import graphfew as gf
from graphfew import runs


def rates(schedule, n):
    """The learning rate at steps `0 .. n-1`."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=schedule.lr)
    scheduler = schedule.build_scheduler(optimizer)
    values = []
    for _ in range(n):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def test_cosine_decays_to_zero():
    values = rates(runs.Schedule(lr=0.2, steps=10, cosine=True), 11)
    assert [values[k] for k in (0, 5, 10)] == pytest.approx([0.2, 0.1, 0.0], abs=1e-12)
    assert all(values[k] > values[k + 1] for k in range(10))
    assert values[3] == pytest.approx(0.1 * (1 + math.cos(0.3 * math.pi)))


def test_warmup_is_linear():
    values = rates(runs.Schedule(lr=1.0, steps=100, warmup=4), 6)
    assert values == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_warmup_multiplies_cosine():
    values = rates(runs.Schedule(lr=1.0, steps=10, cosine=True, warmup=4), 6)
    cosine = [0.5 * (1 + math.cos(math.pi * k / 10)) for k in range(6)]
    warmup = [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert values == pytest.approx([c * w for c, w in zip(cosine, warmup, strict=True)])


@pytest.mark.parametrize("options", [{"cosine": True}, {"halve_every": 1}, {"warmup": 2}, {}])
def test_schedule_of_no_steps(options):
    schedule = runs.Schedule(steps=0, lr=0.5, **options)
    assert rates(schedule, 1) == [pytest.approx(0.5 / 3 if "warmup" in options else 0.5)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_optimizer_of_schedule(name, kind):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    schedule = runs.Schedule(optimizer=name, lr=0.5, weight_decay=0.1)
    optimizer = schedule.build_optimizer(model)
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert [id(p) for p in group["params"]] == [id(p) for p in model[1].parameters()]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.1)
    with pytest.raises(ValueError, match="no trainable parameters"):
        schedule.build_optimizer(model.requires_grad_(False))


def test_sgd_has_nesterov_momentum():
    group = runs.Schedule(optimizer="sgd").build_optimizer(nn.Linear(1, 1)).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)


def test_ema_warms_up_its_decay():
    model = nn.BatchNorm1d(1)
    average = gf.training.ema(model, 0.7)
    expected = 1.0
    for step in range(1, 40):
        with torch.no_grad():
            model.weight.fill_(step)
            model.num_batches_tracked.fill_(step)
        decay = min(0.7, step / (step + 9))
        expected = decay * expected + (1 - decay) * step
        average.update_parameters(model)
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
        assert int(average.module.num_batches_tracked) == step
