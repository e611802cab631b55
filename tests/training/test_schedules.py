"""Learning rates, optimizers and averages of weights."""

import math

import pytest
import torch
from torch import nn

import graphfew as gf


def test_a_cosine_falls_from_the_rate_to_nothing():
    rate = gf.training.cosine_decay(0.2, 10)
    assert [rate(k) for k in (0, 5, 10, 11)] == pytest.approx([0.2, 0.1, 0.0, 0.0], abs=1e-12)
    assert all(rate(k) > rate(k + 1) for k in range(10))
    assert rate(3) == pytest.approx(0.1 * (1 + math.cos(0.3 * math.pi)))


def test_warming_up_reaches_the_rate_in_equal_parts():
    rate = gf.training.linear_warmup(lambda step: 1.0, 4)
    assert [rate(k) for k in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (gf.training.adam, torch.optim.Adam),
        (gf.training.adamw, torch.optim.AdamW),
        (gf.training.sgd, torch.optim.SGD),
    ],
)
def test_optimizers_take_what_learns_and_refuse_nothing(make, kind):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    optimizer = make(model, lr=0.5, weight_decay=0.1)
    assert type(optimizer) is kind
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [
        id(p) for p in model[1].parameters()
    ]
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (
        0.5,
        0.1,
    )
    with pytest.raises(ValueError, match="no trainable weights"):
        make(model.requires_grad_(False))


def test_sgd_has_momentum():
    group = gf.training.sgd(nn.Linear(1, 1)).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)


def test_an_average_follows_by_its_decay_and_forgets_the_beginning():
    average, model = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    expected = 1.0
    for step in range(1, 40):
        with torch.no_grad():
            model.weight.fill_(step)
            model.num_batches_tracked.fill_(step)
        decay = min(0.7, step / (step + 9))
        expected = decay * expected + (1 - decay) * step
        gf.training.follow(average, model, 0.7, step)
        assert average.weight.item() == pytest.approx(expected, rel=1e-5)
        assert int(average.num_batches_tracked) == step
    with pytest.raises(ValueError, match="one recipe"):
        gf.training.follow(average, nn.Linear(1, 1), 0.7, 1)
