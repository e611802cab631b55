"""Step sizes: rows for steps, units and errors."""

import pytest
import torch
from episodes import task

import graphfew as gf
from graphfew.core.dense_batch import dense_task
from graphfew.core.supports import gather_supports
from graphfew.nn import step_sizes
from graphfew.nn.step_sizes import absolute_unit, relative_unit


@pytest.fixture
def supports():
    return gather_supports(dense_task(task(1)))


@pytest.mark.parametrize("steps", [1, 3, 4])
@pytest.mark.parametrize("name", step_sizes.STEP_SIZES)
def test_shapes(name, steps, supports):
    dim = supports.x.shape[2]
    sizes = step_sizes.STEP_SIZES[name](0.5, 4, dim, absolute_unit)(supports, steps)
    assert sizes.rate.shape == sizes.bias.shape == (1, steps)
    if "feature" in name:
        rows = steps if "per_step" in name else 1
        assert sizes.feature.shape == (1, rows, dim)
        assert torch.equal(sizes.feature, torch.full((1, rows, dim), 0.5))
        assert torch.equal(sizes.rate, torch.ones(1, steps))
    else:
        assert sizes.feature is None
        assert torch.equal(sizes.rate, torch.full((1, steps), 0.5))
    assert torch.equal(sizes.bias, torch.full((1, steps), 0.5))


@pytest.mark.parametrize("name", step_sizes.STEP_SIZES)
def test_more_steps_than_rows(name, supports):
    rule = step_sizes.STEP_SIZES[name](0.5, 4, supports.x.shape[2], absolute_unit)
    if "per_step" in name:
        with pytest.raises(gf.errors.InvalidInputError, match="6 inner steps need 6 step sizes"):
            rule(supports, 6)
    else:
        assert rule(supports, 6).rate.shape == (1, 6)


def test_relative_unit(supports):
    squared_length = sum(row @ row for row in supports.x[0]) / len(supports.x[0])
    weight, bias = relative_unit(supports)
    assert weight.item() == pytest.approx(1 / squared_length.item())
    assert bias.item() == pytest.approx(1 / (squared_length.item() + 1))
