"""Gradient clipping of an optimizer."""

import functools

import pytest
import torch

import graphfew as gf
from graphfew.runs import Schedule
from graphfew.training import clip_gradients

GRADIENTS = [torch.tensor([3.0, -0.5]), torch.tensor([0.0, 4.0])]


def change(**limits):
    """The change of two parameters by one step of gradient descent at rate 1."""
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in GRADIENTS]
    optimizer = clip_gradients(functools.partial(torch.optim.SGD, lr=1.0), **limits)(parameters)
    for parameter, gradient in zip(parameters, GRADIENTS, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()
    return [-parameter.detach() for parameter in parameters]


def test_values_are_clipped_first():
    first, second = change(value=1.0)
    assert first.tolist() == [1.0, -0.5]
    assert second.tolist() == [0.0, 1.0]
    first, second = change(value=1.0, tensor_norm=0.5)
    expected = torch.tensor([1.0, -0.5]) * 0.5 / 1.25**0.5
    assert torch.allclose(first, expected, atol=1e-5)
    assert torch.allclose(second, torch.tensor([0.0, 0.5]), atol=1e-5)


def test_norm_of_all_gradients():
    first, second = change(norm=1.0)
    total = torch.cat(GRADIENTS).norm()
    assert torch.allclose(first, GRADIENTS[0] / total, atol=1e-5)
    assert torch.allclose(second, GRADIENTS[1] / total, atol=1e-5)


def test_small_gradients_do_not_change():
    assert all(map(torch.equal, change(value=10.0, tensor_norm=10.0, norm=10.0), GRADIENTS))


def test_parameters_without_gradients_are_skipped():
    parameter = torch.nn.Parameter(torch.zeros(2))
    clip_gradients(torch.optim.Adam, norm=1.0)([parameter]).step()
    assert torch.equal(parameter, torch.zeros(2))


@pytest.mark.parametrize("limits", [{}, {"norm": 0.0}, {"value": 1.0, "tensor_norm": -1.0}])
def test_invalid_limits_raise(limits):
    with pytest.raises(gf.errors.InvalidInputError, match="value, tensor_norm or norm"):
        clip_gradients(torch.optim.Adam, **limits)


def test_schedule_clips_in_the_same_order():
    schedule = Schedule(optimizer="plain-sgd", lr=1.0, clip_value=1.0, clip_tensor_norm=0.5)
    module = torch.nn.ParameterList([torch.zeros(2), torch.zeros(2)])
    optimizer = schedule.build_optimizer(module)
    for parameter, gradient in zip(module, GRADIENTS, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()
    for parameter, expected in zip(module, change(value=1.0, tensor_norm=0.5), strict=True):
        assert torch.equal(-parameter.detach(), expected)
    assert not Schedule().build_optimizer(module)._optimizer_step_pre_hooks
